"""The guard against slowdowns: ratios of quick cases against those in ``reference.json``.

``python -m benchmarks check [--write]``, or ``make bench-check``: fails when a ratio has fallen by
a third. Ratios, not seconds, so that another machine gives much the same; each is the median of
three runs. ``--write`` puts the ratios of this machine into the file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from benchmarks import ssa, throughput, wells
from benchmarks.density_laws import law_of
from data_gen.mixtures import TWO
from data_gen.wells import TRUTHS
from lse_vi import LSEICNN, count_modes, fit_density, paper_recipe

REFERENCE = Path(__file__).with_name("reference.json")
FALL = 1 / 3
RUNS = 3
Ratios = dict[str, float]


def energies() -> Ratios:
    """A loop of modules over ours, for some sizes."""
    found = {}
    for modes, batch in ((10, 200), (40, 200), (10, 4096), (10, 65536)):
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float32)
        x = torch.randn(batch, 1)
        models = {
            "loop": throughput.Loop(1, modes, (10, 10)),
            "ours": LSEICNN(1, modes, hidden=(10, 10)),
        }
        for name, work in throughput.WORK.items():
            seconds = throughput.race({who: work(model, x) for who, model in models.items()})
            found[f"throughput, {name}, {modes} x {batch}"] = seconds["loop"] / seconds["ours"]
    return found


def potentials() -> Ratios:
    """500 epochs of the paper's recipe over our fit."""
    torch.set_default_dtype(torch.float64)
    _, recipe = wells.timed(TRUTHS[0], 0, progress=False, **paper_recipe(steps=500))
    _, ours = wells.timed(TRUTHS[0], 0, progress=False)
    return {"wells, 500 epochs of the recipe over fit_potential": recipe / ours}


def densities() -> Ratios:
    """A sweep of Gaussian mixtures over our fit with one to three modes."""
    torch.set_default_dtype(torch.float64)
    x = law_of("gaussian-4", 0).draw(2000)

    def fit() -> None:
        fit_density(x, modes=3, steps=100, polish=100, progress=False)

    ratio = seconds(lambda: sweep(x)) / seconds(fit)
    return {"density, sweep of Gaussian mixtures over fit_density": ratio}


def columns() -> Ratios:
    """A sweep of Gaussian mixtures over what is asked of a column of numbers, all by default."""
    torch.set_default_dtype(torch.float64)
    found = {}
    for n in (300, 1000):
        x = TWO.sample(n, 0)[:, None]
        ours = seconds(partial(fit_density, x, progress=False))
        found[f"column of {n}, sweep over fit_density"] = seconds(partial(sweep, x)) / ours
    x = TWO.sample(400, 0)[:, None]
    ours = seconds(lambda: count_modes(x, progress=False))
    found["column of 400, sweep over count_modes"] = seconds(lambda: sweep(x)) / ours
    return found


def sweep(x: Any) -> None:
    """Gaussian mixtures of one to twenty parts, as a search by BIC fits them."""
    for k in range(1, 21):
        GaussianMixture(k, n_init=2, random_state=0).fit(x)


def simulations() -> Ratios:
    """A NumPy direct method over ours."""
    case = ssa.cases()[0]
    ours, rival = ssa.ours(case, 1), ssa.numpy_direct(case, 1)
    ours(0)
    return {
        "ssa, NumPy over ours": seconds(lambda: rival(0))
        * case.trajectories
        / seconds(lambda: ours(0))
    }


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure() -> Ratios:
    """Every ratio, the median of some runs."""
    runs = [{name: ratio for part in PARTS for name, ratio in part().items()} for _ in range(RUNS)]
    return {name: float(np.median([run[name] for run in runs])) for name in runs[0]}


PARTS: tuple[Callable[[], Ratios], ...] = (
    energies,
    potentials,
    densities,
    columns,
    simulations,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, compare, and leave with an error when a ratio has fallen by a third."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks check", description=__doc__)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args(arguments).write
    torch.set_num_threads(1)
    ratios = measure()
    if write:
        REFERENCE.write_text(json.dumps(ratios, indent=2) + "\n")
    reference = json.loads(REFERENCE.read_text())
    fallen = [name for name, before in reference.items() if ratios[name] < (1 - FALL) * before]
    print(f"{'reference':>61}{'now':>10}")
    for name, before in reference.items():
        note = "  fell by more than a third" if name in fallen else ""
        print(f"{name:>51}{before:10.2f}{ratios[name]:10.2f}{note}")
    print(json.dumps({"benchmark": "check", "fallen": fallen, "ratios": ratios}))
    if fallen:
        sys.exit(1)
