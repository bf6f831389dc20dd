"""Exact simulation: events per second against GillesPy2's C++ solver and a NumPy direct method.

``python -m benchmarks ssa [--seed 0]``; GillesPy2 and scons are optional
(``pip install lse-vi[benchmarks]``), and need a C++ compiler.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.records import Record
from data_gen import gillespie, schlogl
from data_gen.arrays import FloatArray, IntArray
from data_gen.networks import MassAction, ReactionNetwork

REPEATS = 3
Simulator = Callable[[int], IntArray | FloatArray]  # a seed to final counts, (runs, species)


@dataclass(frozen=True)
class Case:
    """What is simulated: ``trajectories`` from ``x0`` to each of 20 times up to ``end``."""

    name: str
    network: ReactionNetwork
    x0: list[int]
    end: float
    trajectories: int

    @property
    def times(self) -> FloatArray:
        return np.linspace(0, self.end, 21)[1:]


def cases() -> list[Case]:
    """A bistable network, the simplest one, and a ring of ten species with 20 reactions."""
    birth_death = ReactionNetwork(["A"], [[1], [-1]], MassAction([100.0, 1.0], [[0], [1]]))
    here = np.eye(10, dtype=int)
    ahead, behind = np.roll(here, 1, axis=1), np.roll(here, -1, axis=1)
    ring = ReactionNetwork(
        [f"S{i}" for i in range(10)],
        np.concatenate([ahead - here, behind - here]),
        MassAction(np.concatenate([np.full(10, 1.0), np.full(10, 0.5)]), np.tile(here, (2, 1))),
    )
    return [
        Case("schlogl", schlogl.network(), [schlogl.X0], 10.0, 200),
        Case("birth-death", birth_death, [100], 50.0, 500),
        Case("ring, 20 reactions", ring, [100] * 10, 5.0, 500),
    ]


def ours(case: Case, threads: int) -> Simulator:
    """Final counts (trajectories, species) for a seed."""
    return lambda seed: gillespie.simulate(
        case.network, case.x0, case.times, case.trajectories, seed, threads=threads
    )[:, -1]


def gillespy2(case: Case) -> Simulator | None:
    """GillesPy2's C++ direct method, compiled; None where it cannot be had."""
    try:
        import gillespy2 as gp

        network, kinetics = case.network, case.network.kinetics
        if not isinstance(kinetics, MassAction):
            raise TypeError(f"mass action is needed, but {case.name} has {kinetics!r}")
        model = gp.Model(name="benchmark")
        model.add_species(
            [
                gp.Species(name=name, initial_value=n)
                for name, n in zip(network.species, case.x0, strict=True)
            ]
        )
        for j, change in enumerate(network.stoichiometry):
            model.add_parameter(gp.Parameter(name=f"k{j}", expression=kinetics.rates[j]))
            sides = [
                {name: int(n) for name, n in zip(network.species, counts, strict=True) if n}
                for counts in (kinetics.orders[j], kinetics.orders[j] + change)
            ]
            factors = [
                f"({name}-{i})/{i + 1}" for name, n in sides[0].items() for i in range(n)
            ]  # n choose order
            model.add_reaction(
                gp.Reaction(
                    name=f"r{j}",
                    reactants=sides[0],
                    products=sides[1],
                    propensity_function="*".join([f"k{j}", *factors]),
                )
            )
        # GillesPy2 calls SCons by the first Python on the path: let that be ours.
        here = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([here, os.environ["PATH"]])
        model.timespan(gp.TimeSpan(np.concatenate([[0.0], case.times])))
        solver = gp.SSACSolver(model=model)
        model.run(solver=solver, number_of_trajectories=1, seed=1)
    except Exception as error:
        print(f"GillesPy2 is left out: {error}")
        return None

    def run(seed: int) -> FloatArray:
        runs = model.run(solver=solver, number_of_trajectories=case.trajectories, seed=seed + 1)
        return np.array([[one[name][-1] for name in network.species] for one in runs])

    return run


def numpy_direct(case: Case, trajectories: int) -> Simulator:
    """The direct method as one would write it in NumPy, for fewer trajectories."""

    def one(rng: np.random.Generator) -> IntArray:
        x, t = np.array(case.x0), 0.0
        while True:
            cumulative = np.cumsum(case.network.propensities(x))
            t += rng.exponential(1 / cumulative[-1])
            if t > case.end:
                return x
            j = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
            x = x + case.network.stoichiometry[j]

    def run(seed: int) -> IntArray:
        rng = np.random.default_rng(seed)
        return np.stack([one(rng) for _ in range(trajectories)])

    return run


def race(contenders: dict[str, Simulator], seed: int) -> dict[str, float]:
    """Least seconds of each, run in turns."""
    best = dict.fromkeys(contenders, math.inf)
    for repeat in range(REPEATS):
        for name, run in contenders.items():
            began = time.perf_counter()
            run(seed + repeat)
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def run(seed: int = 0) -> Record:
    """Every network."""
    processors = os.cpu_count() or 1
    results = {}
    for case in cases():
        events = [
            len(gillespie.simulate_path(case.network, case.x0, case.end, seed, trajectory=i).times)
            for i in range(5)
        ]
        contenders = {"one thread": ours(case, 1), "all threads": ours(case, processors)}
        rival = gillespy2(case)
        if rival:
            contenders["gillespy2"] = rival
        seconds = race(contenders, seed)
        began = time.perf_counter()
        numpy_direct(case, 1)(seed)
        seconds["numpy"] = (time.perf_counter() - began) * case.trajectories
        own = seconds["one thread"]
        results[case.name] = {
            "events_per_second": float(np.mean(events)) * case.trajectories / own,
            "speedup_vs_gillespy2": seconds["gillespy2"] / own if rival else None,
            "speedup_vs_numpy": seconds["numpy"] / own,
            "speedup_of_threads": own / seconds["all threads"],
        }
    return {
        "benchmark": "ssa",
        "speedup_vs_gillespy2": results["schlogl"]["speedup_vs_gillespy2"],
        "threads": processors,
        "networks": results,
        "seed": seed,
    }


def table(result: Record) -> str:
    """The result as the terminal shows it."""
    lines = [
        f"{'one thread':>20}{'events/s':>12}{'vs GillesPy2':>14}{'vs NumPy':>10}"
        f"{result['threads']:>6} threads"
    ]
    for name, one in result["networks"].items():
        rival = one["speedup_vs_gillespy2"]
        lines.append(
            f"{name:>20}{one['events_per_second']:12.2e}"
            f"{f'{rival:.1f}x' if rival else '-':>14}{one['speedup_vs_numpy']:9.0f}x"
            f"{one['speedup_of_threads']:13.2f}x"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, print the table and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ssa", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    result = run(**vars(parser.parse_args(arguments)))
    print(table(result))
    print(json.dumps(result))
