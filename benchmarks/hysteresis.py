"""The material behind tests of a wire: is it found, in what time, and is a failure said?

``python -m benchmarks hysteresis [--seeds 10] [--exact 5]`` fits exact paths, noisy tests in three
systems of units, and variants of tests, by :func:`lse_vi.fit_memory` with its defaults. Errors are
those on tests of the same wire that no fit has seen; seconds are of CPU on one thread.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from benchmarks.records import Record
from data_gen.superelastic import NOISE, STRAIN_NOISE, Transformation, Wire, growing_loops
from data_gen.superelastic import Record as Test
from lse_vi import fit_memory
from lse_vi.hysteresis import Estimate, HysteresisFit

HARDENINGS = (0.0, 2000.0)
PATHS, UNSEEN = 40, 10  # of the exact law
UNSEEN_TESTS, UNSEEN_SEED = 5, 1000
UNITS = {"% and Pa": (100.0, 1e6), "psi": (1.0, 145.0377)}
HOLDS = 3.0  # standard errors within which an error bar holds the truth
LEAST_LOOP = 0.1  # of the largest work: smaller loops have no relative error
OUTLIERS, OFF = 0.05, 300.0  # share of the rows, and their standard deviation in MPa
# Error on unseen tests, in units of their noise, up to which a material counts as found.
FOUND = 1.15


class Variant(NamedTuple):
    """A wire, and tests of it.

    Attributes:
        wire: the material.
        specimens: number of tests.
        peak: largest strain.
        strain_noise: standard deviation.
        both_sides: whether loops go into compression.
        outliers: share of wrong rows.
    """

    wire: Wire
    specimens: int = 5
    peak: float = 0.06
    strain_noise: float = STRAIN_NOISE
    both_sides: bool = False
    outliers: float = 0.0

    def tests(self, count: int, seed: int) -> list[Test]:
        """``count`` tests without outliers."""
        return self.wire.tests(
            count,
            peak=self.peak,
            strain_noise=self.strain_noise,
            both_sides=self.both_sides,
            seed=seed,
        )


VARIANTS = {
    "tension and compression": Variant(
        Wire((Transformation(0.04, 400, 200, 1000), Transformation(-0.025, 600, 350, 1500))),
        both_sides=True,
    ),
    "set that stays": Variant(Wire((Transformation(down=-100.0),))),
    "two plateaus": Variant(
        Wire((Transformation(0.015, 300, 150, 300), Transformation(0.02, 700, 550, 500))),
        peak=0.07,
    ),
    "plateaus that overlap": Variant(
        Wire((Transformation(0.02, 350, 150, 800), Transformation(0.02, 500, 400, 200))),
        peak=0.07,
    ),
    "loops that never complete": Variant(Wire(), peak=0.035),
    "small loops": Variant(Wire(), peak=0.02),
    "one test": Variant(Wire(), specimens=1),
    "one test, hardening": Variant(wire := Wire((Transformation(hardening=2000.0),)), specimens=1),
    "strain noise 2e-4": Variant(Wire(), strain_noise=2e-4),
    "strain noise 2e-4, hardening": Variant(wire, strain_noise=2e-4),
    "5 % outliers": Variant(Wire(), outliers=OUTLIERS),
    "5 % outliers, hardening": Variant(wire, outliers=OUTLIERS),
}


def of(hardening: float) -> Wire:
    """The wire with one transformation."""
    return Wire((Transformation(hardening=hardening),))


def fit(tests: Sequence[Sequence[np.ndarray]]) -> tuple[HysteresisFit, float]:
    """The fit, and its CPU seconds."""
    began = time.process_time()
    result = fit_memory(list(tests), progress=False)
    return result, time.process_time() - began


def exact(hardening: float, seed: int) -> Record:
    """R2 on unseen paths of the law without noise."""
    rng, wire = np.random.default_rng(seed), of(hardening)
    strains = [growing_loops(0.06, rng) for _ in range(PATHS + UNSEEN)]
    stresses = [wire.respond(strain).stress for strain in strains]
    result, seconds = fit(list(zip(strains, stresses, strict=True))[:PATHS])
    guess = np.concatenate([result.predict(strain) for strain in strains[PATHS:]])
    truth = np.concatenate(stresses[PATHS:])
    return {
        "hardening": hardening,
        "seed": seed,
        "unexplained": float(np.mean((guess - truth) ** 2) / truth.var()),
        "phases": result.phases,
        "seconds": seconds,
    }


def noisy(hardening: float, seed: int) -> Record:
    """Five noisy tests: errors of the stress, of A, of k+ + k-, and of what a loop dissipates."""
    wire = of(hardening)
    tests = wire.tests(seed=seed)
    result, seconds = fit(tests)
    truth = wire.transformations[0]
    found = {"phases": result.phases, "seconds": seconds, "warnings": result.warnings}
    row: Record = {"hardening": hardening, "seed": seed} | found
    row["error"] = unseen_error(result, wire.tests(UNSEEN_TESTS, seed=UNSEEN_SEED + seed)) / NOISE
    row["lost"] = energy_error(result, wire, tests)
    for transition in result.transitions[:1]:
        row["A"] = agreement(transition.mixing, truth.mixing(wire.modulus))
        row["k"] = agreement(transition.threshold, truth.threshold)
    return row


def units(hardening: float, seed: int) -> Record:
    """Largest relative change of stresses and marks in other units."""
    tests = of(hardening).tests(seed=seed)
    ours, _ = fit(tests)
    row: Record = {"hardening": hardening, "seed": seed}
    for name, (strain, stress) in UNITS.items():
        theirs, _ = fit([(t.time, strain * t.strain, stress * t.stress) for t in tests])
        changes = [abs(theirs.rmse / stress / ours.rmse - 1), float(theirs.phases != ours.phases)]
        for test in tests:
            guess = ours.predict(test.strain)
            other = theirs.predict(strain * test.strain) / stress
            changes.append(float(np.abs(other - guess).max() / np.abs(guess).max()))
        for a, b in zip(ours.transitions, theirs.transitions, strict=False):
            for mark, unit in (("mixing", strain * stress), ("threshold", strain * stress)):
                changes.append(abs(getattr(b, mark).value / unit / getattr(a, mark).value - 1))
        row[name] = max(changes)
    return row


def variant(name: str, seed: int) -> Record:
    """Whether the material of a variant is found, or its failure is said."""
    case = VARIANTS[name]
    rng = np.random.default_rng(seed)
    tests = []
    for t in case.tests(case.specimens, seed):
        wrong = rng.uniform(size=len(t.time)) < case.outliers
        tests.append(t._replace(stress=t.stress + OFF * wrong * rng.standard_normal(len(t.time))))
    result, seconds = fit(tests)
    noise = math.hypot(NOISE, case.wire.modulus * case.strain_noise)
    error = unseen_error(result, case.tests(UNSEEN_TESTS, UNSEEN_SEED + seed)) / noise
    right = result.phases == len(case.wire.transformations) + 1
    return {
        "name": name,
        "seed": seed,
        "error": error,
        "phases": result.phases,
        "found": right and error < FOUND,
        "marks": marks_hold(result, case.wire) if right else False,
        "warnings": result.warnings,
        "seconds": seconds,
    }


def unseen_error(result: HysteresisFit, tests: Sequence[Test]) -> float:
    """The RMSE on tests that the fit has not seen."""
    errors = np.concatenate([result.predict(t.strain) - t.stress for t in tests])
    return float(np.sqrt(np.mean(errors**2)))


def energy_error(result: HysteresisFit, wire: Wire, tests: Sequence[Test]) -> float:
    """The largest relative error of the energy that a loop dissipates."""
    lost = [wire.respond(t.strain).dissipation for t in tests]
    exact = [float(lost[e.test][e.loop.first + 1 : e.loop.last + 1].sum()) for e in result.energies]
    return max(
        abs(energy.model / truth - 1)
        for energy, truth in zip(result.energies, exact, strict=True)
        if truth > LEAST_LOOP * max(exact)
    )


def agreement(found: Estimate, truth: float) -> Record:
    """How far an estimate is from the truth, and whether its error holds it."""
    if found.determined:
        holds = abs(found.value - truth) < HOLDS * found.error
        return {"off": found.value / truth - 1, "sigmas": (found.value - truth) / found.error,
                "right": holds or abs(found.value / truth - 1) < 0.1}  # fmt: skip
    return {"least": found.at_least / truth, "right": bool(found.at_least < 1.02 * truth)}


def marks_hold(result: HysteresisFit, wire: Wire) -> bool:
    """Whether A and k+ + k- of every transition are right, in the order of side and stress."""
    truths = sorted(wire.transformations, key=lambda t: (t.strain > 0, t.up))
    return all(
        agreement(ours.mixing, truth.mixing(wire.modulus))["right"]
        and agreement(ours.threshold, truth.threshold)["right"]
        for ours, truth in zip(result.transitions, truths, strict=True)
    )


def run(seeds: int = 10, exact_seeds: int = 5, only: str = "") -> Record:
    """All of it, or one part."""
    cases: dict[str, list[tuple[Callable[..., Record], Any, int]]] = {
        "exact": [(exact, h, s) for h in HARDENINGS for s in range(exact_seeds)],
        "noisy": [(noisy, h, s) for h in HARDENINGS for s in range(seeds)],
        "units": [(units, h, s) for h in HARDENINGS for s in range(seeds)],
        "variants": [(variant, name, s) for name in VARIANTS for s in range(seeds)],
    }
    result: Record = {"benchmark": "hysteresis", "torch": torch.__version__}
    for part in [only] if only else list(cases):
        rows = tqdm(cases[part], part)
        result[part] = [measure(case, seed) for measure, case, seed in rows]
    return result


def table(result: Record) -> str:
    """The result as the terminal shows it: of each case the worst seed."""
    lines = []
    for h in HARDENINGS:
        for part, line in (("exact", exact_line), ("noisy", noisy_line), ("units", units_line)):
            if rows := [row for row in result.get(part, []) if row["hardening"] == h]:
                lines.append(f"H = {h:4g}, {len(rows)} seeds, {line(rows)}")
    for name, together in groupby(result.get("variants", []), key=itemgetter("name")):
        lines.append(f"{name:<30}{variant_line(list(together))}")
    return "\n".join(lines)


def exact_line(rows: list[Record]) -> str:
    """The worst of exact paths."""
    return (
        f"{PATHS} exact paths: 1 - R2 on unseen paths {most(rows, 'unexplained'):.1e}, "
        f"{most(rows, 'seconds'):.1f} s"
    )


def noisy_line(rows: list[Record]) -> str:
    """The worst of noisy tests."""
    return (
        f"five noisy tests: error on unseen tests / noise {most(rows, 'error'):.3f}, energy of a "
        f"loop {most(rows, 'lost'):.1%}, A {marks_of(rows, 'A')}, k+ + k- {marks_of(rows, 'k')}, "
        f"{most(rows, 'seconds'):.1f} s"
    )


def units_line(rows: list[Record]) -> str:
    """The largest changes in other units."""
    return "other units: " + ", ".join(f"{name} {most(rows, name):.0e}" for name in UNITS)


def variant_line(rows: list[Record]) -> str:
    """How often a variant is found, and how often a failure is not said."""
    silent = sum(not row["found"] and not row["warnings"] for row in rows)
    return (
        f"found {sum(r['found'] for r in rows)} of {len(rows)}, marks "
        f"{sum(r['marks'] for r in rows)}, failed in silence {silent}, error / noise "
        f"{np.median([r['error'] for r in rows]):.3f} to {most(rows, 'error'):.3f}, "
        f"{most(rows, 'seconds'):.1f} s"
    )


def most(rows: list[Record], key: str) -> float:
    """The largest value of a column."""
    return max(float(row[key]) for row in rows)


def marks_of(rows: list[Record], name: str) -> str:
    """The worst of the estimates of one mark."""
    told = [row[name] for row in rows if "off" in row.get(name, {})]
    least = [row[name]["least"] for row in rows if "least" in row.get(name, {})]
    parts = []
    if told:
        off, sigmas = (max(abs(m[key]) for m in told) for key in ("off", "sigmas"))
        parts.append(f"within {off:.1%} ({sigmas:.1f} sigma)")
    if least:
        parts.append(f"at least {min(least):.2f} to {max(least):.2f} of the truth")
    return ", ".join(parts) or "not found"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, print the table and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks hysteresis", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--exact", type=int, default=5, help="seeds of the exact paths")
    parser.add_argument("--only", default="", choices=["exact", "noisy", "units", "variants"])
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    result = run(given.seeds, given.exact, given.only)
    print(table(result))
    print(json.dumps(result))
