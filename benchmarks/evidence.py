"""`sample_smc` against exact evidences, nested sampling and tempered SMC.

``python -m benchmarks evidence [--seeds 0 1 2 3 4] [--targets all] [--rivals dynesty,pocoMC]``

``error`` is the error of log Z, ``claimed`` its stated standard error. ``modes`` counts those of
one per cent and more that have draws, and ``weight`` is the worst relative error of those of two
per cent and more. ``SW`` is the sliced Wasserstein distance of 4,000 draws from sets of exact
ones, over that among these sets: 1 is as good as exact. ``s`` are seconds of CPU, search included,
and ``model`` those of them within the model, which is evaluated ``calls`` times, with a gradient or
without (set OMP_NUM_THREADS=1 where other work runs on the machine).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import combinations
from time import process_time
from typing import Self
from unittest.mock import patch

import pyro
import torch
from torch import Tensor

from benchmarks.evidence_problem import Problem
from benchmarks.evidence_rivals import RIVALS, Answer
from benchmarks.evidence_targets import problems, spike
from benchmarks.records import Record
from lse_vi import AutoLSEICNN, sample_smc
from lse_vi.joint.log_joint import LogJoint

DRAWS, DIRECTIONS = 4000, 128
REFERENCES = 10  # sets of exact draws
SEEN, WEIGHED = 0.01, 0.02  # masses of the modes that must be met, and whose weights count
CLAIM = 3  # an error within so many claimed ones is held
HEAD = (
    f"{'':26}{'error':>9}{'claimed':>9}{'modes':>8}{'weight':>8}{'SW':>6}{'calls':>10}{'s':>8}"
    f"{'model':>7}"
)


def ours(problem: Problem, seed: int) -> Answer:
    """Search, placement, draws: no training."""
    pyro.clear_param_store()
    guide, meter = AutoLSEICNN(problem.model), Meter()
    with meter:
        res = sample_smc(problem.model, guide, draws=DRAWS, seed=seed, progress=False)
    parts = [part.flatten(0, 1).reshape(DRAWS, -1) for part in res.samples.values()]
    return Answer(
        res.log_evidence, res.log_evidence_error, torch.cat(parts, -1), meter.rows,
        meter.seconds, bool(res.warnings),
    )  # fmt: skip


class Meter(ExitStack):
    """While it is open: at how many rows the model is evaluated, and the seconds that takes."""

    METHODS = ("with_prior", "value_and_gradient", "gradients_with_prior", "hessian")

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.seconds, self._inside = 0, 0.0, False

    def __enter__(self) -> Self:
        for name in self.METHODS:
            self.enter_context(patch.object(LogJoint, name, self._metered(name)))
        return self

    def _metered(self, name: str) -> Callable[..., object]:
        method = getattr(LogJoint, name)

        def metered(log_joint: LogJoint, z: Tensor) -> object:
            if self._inside:
                return method(log_joint, z)
            self._inside, began = True, process_time()
            try:
                return method(log_joint, z)
            finally:
                self._inside = False
                self.rows += len(z)
                self.seconds += process_time() - began

        return metered


def judge(problem: Problem, answer: Answer) -> Record:
    """The numbers of one row."""
    row: Record = {
        "error": answer.log_evidence - problem.log_evidence,
        "claimed": answer.claimed,
        "calls": answer.evaluations,
        "model": answer.model_seconds,
        "flagged": answer.flagged,
        "modes": None,
        "weight": None,
        "sw": None,
    }
    if problem.weights is not None and problem.mode_of is not None:
        mode = problem.mode_of(answer.x)
        share = torch.bincount(mode, minlength=len(problem.weights)) / len(mode)
        seen, weighed = problem.weights >= SEEN, problem.weights >= WEIGHED
        off = (share / problem.weights - 1).abs()[weighed]
        row |= {"modes": int((share > 0)[seen].sum()), "weight": float(off.max())}
    if problem.sample is not None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            every = [answer.x, *(problem.sample(DRAWS) for _ in range(REFERENCES))]
            # In heavy tails no mean of distances settles: they are taken as ranks are, by asinh.
            own, *exact = [x.asinh() if problem.heavy else x for x in every]
            row["sw"] = sliced(own, exact)
    return row


def sliced(x: Tensor, exact: Sequence[Tensor]) -> float:
    """Mean Wasserstein distance of draws from sets of exact ones over that among these.

    Along random directions. Of two exact sets alone: one drawn in their place may be as far as
    twice their distance.
    """
    directions = torch.nn.functional.normalize(torch.randn(x.shape[1], DIRECTIONS), dim=0).to(x)
    levels = (torch.arange(1000).to(x) + 0.5) / 1000
    own, *others = [(each @ directions).quantile(levels, 0) for each in (x, *exact)]
    apart = [float((own - other).abs().mean()) for other in others]
    among = [float((one - two).abs().mean()) for one, two in combinations(others, 2)]
    return statistics.mean(apart) / statistics.mean(among)


def timed(method: Callable[[Problem, int], Answer], problem: Problem, seed: int) -> Record:
    """A row, with seconds of CPU."""
    torch.manual_seed(seed)
    began = process_time()
    answer = method(problem, seed)
    return {"seconds": process_time() - began} | judge(problem, answer)


def line(name: str, row: Record, problem: Problem) -> str:
    """A row as it is printed."""
    count = "" if problem.weights is None else int((problem.weights >= SEEN).sum())
    shown = "" if row["modes"] is None else f"{row['modes']}/{count}"
    weight = "" if row["weight"] is None else f"{row['weight']:.2f}"
    sw = "" if row["sw"] is None else f"{row['sw']:.1f}"
    return (
        f"{name:26}{row['error']:+9.4f}{row['claimed']:9.4f}{shown:>8}{weight:>8}{sw:>6}"
        f"{row['calls']:10,}{row['seconds']:8.1f}{row['model']:7.1f}"
        + ("  warned" if row["flagged"] else "")
    )


def summary(rows: Sequence[Record]) -> None:
    """How often the error is held, and the medians over the targets."""
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        held = sum(abs(row["error"]) <= CLAIM * row["claimed"] for row in own)
        error, claimed, seconds = (typical(own, key) for key in ("error", "claimed", "seconds"))
        print(
            f"{method}: within {CLAIM} claimed errors in {held} of {len(own)} runs; on the median "
            f"target |error| {error:.4f}, claimed {claimed:.4f}, {seconds:.1f} s"
        )


def typical(rows: Sequence[Record], key: str) -> float:
    """The median over targets of the median over seeds."""
    names = dict.fromkeys(row["target"] for row in rows)
    each = ([abs(row[key]) for row in rows if row["target"] == name] for name in names)
    return statistics.median(map(statistics.median, each))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks evidence", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--targets", default="all", help="words of their names, by commas")
    parser.add_argument("--rivals", default="dynesty,pocoMC", help="by commas; or none")
    options = parser.parse_args(arguments)
    torch.set_default_dtype(torch.float64)
    methods: dict[str, Callable[[Problem, int], Answer]] = {"sample_smc": ours}
    methods |= {name: rival for name, rival in RIVALS.items() if name in options.rivals.split(",")}
    rows: list[Record] = []
    ours(spike(1), 0)  # not timed: what torch loads at its first run
    for problem in problems():
        words = options.targets.split(",")
        if options.targets != "all" and not any(word in problem.name for word in words):
            continue
        print(f"\n{problem.name} (log Z {problem.log_evidence:.4f})\n{HEAD}", flush=True)
        for name, method in methods.items():
            for seed in options.seeds:
                try:
                    row = timed(method, problem, seed)
                except ModuleNotFoundError as error:
                    print(f"{name:26}left out: pip install {error.name}")
                    break
                print(line(f"{name}, seed {seed}", row, problem), flush=True)
                rows.append({"target": problem.name, "method": name, "seed": seed} | row)
    print()
    summary(rows)
    finite = [{k: None if v != v or v in (math.inf, -math.inf) else v for k, v in row.items()}
              for row in rows]  # fmt: skip
    print(json.dumps({"benchmark": "evidence", "rows": finite}))
