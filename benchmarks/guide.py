"""AutoLSEICNN against Pyro's autoguides, a spline flow, and an annealed Gaussian mixture.

``python -m benchmarks guide [--seed 0] [--targets all]``

Every rival gets the seconds of CPU that AutoLSEICNN took on the same target, search, training and
diagnostics together (set OMP_NUM_THREADS=1 where other work runs on the machine). ``gap`` is log Z
minus the ELBO; ``eubo`` is the mean of l - log q over exact draws minus log Z, where there are
exact draws: it is large where q leaves out a mode. Where log Z is not known, the importance
estimate of largest ESS stands in for it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from time import process_time
from typing import NamedTuple

import pyro
import torch
from torch import Tensor

from benchmarks.records import Record
from benchmarks.rivals import RIVALS, Approximation, joint_of
from benchmarks.targets import Target, multimodal, posteriors
from lse_vi import AutoLSEICNN, fit_guide

DRAWS = 20_000
HEAD = f"{'':30}{'gap':>9}{'eubo':>9}{'modes':>8}{'cover':>7}{'log Z err':>11}{'ESS':>7}{'s':>7}"


class Score(NamedTuple):
    """How one approximation does on one target; NaN where the target has no truth to compare."""

    method: str
    elbo: float
    log_evidence: float
    ess: float
    seconds: float
    upper: float = math.nan  # the mean of l - log q over exact draws
    modes: int = 0
    coverage: float = math.nan  # entropy of the modes' shares over that of their true weights


def ours(target: Target, seed: int) -> Approximation:
    """AutoLSEICNN, with as many modes as its search finds."""
    pyro.clear_param_store()
    guide = AutoLSEICNN(target.model)
    fit_guide(target.model, guide, *target.args, seed=seed, progress=False)
    q = guide.get_posterior()

    def draw(n: int) -> tuple[Tensor, Tensor]:
        z = q.sample((n,))
        return z, q.log_prob(z)

    return Approximation(draw, q.log_prob)


@torch.no_grad()
def judge(target: Target, method: str, q: Approximation, seconds: float) -> Score:
    """The numbers of one row, from fresh draws."""
    log_joint, _ = joint_of(target)
    z, log_q = q.draw(DRAWS)
    log_w = torch.cat([log_joint(part) for part in z.split(4096)]) - log_q
    log_mean = log_w.logsumexp(0) - math.log(DRAWS)
    ess = (2 * log_mean + math.log(DRAWS) - (2 * log_w).logsumexp(0)).exp()
    score = Score(method, float(log_w.mean()), float(log_mean), float(ess), seconds)
    if target.sample is not None:
        exact = target.sample(DRAWS // 10)
        score = score._replace(upper=float((log_joint(exact) - q.log_prob(exact)).mean()))
    if target.weights is not None and target.locations is not None:
        nearest = torch.cdist(z, target.locations).argmin(1)
        share = torch.bincount(nearest, minlength=len(target.weights)) / DRAWS
        entropy, true = torch.special.entr(share).sum(), torch.special.entr(target.weights).sum()
        found = int((share > 0.1 * target.weights).sum())
        score = score._replace(modes=found, coverage=float(entropy / true))
    return score


def compare(target: Target, seed: int, rivals: Sequence[str]) -> list[Score]:
    """AutoLSEICNN first, then every rival for as long."""
    torch.manual_seed(seed)
    began = process_time()
    q = ours(target, seed)
    seconds = process_time() - began
    scores = [judge(target, "AutoLSEICNN", q, seconds)]
    for name in rivals:
        torch.manual_seed(seed)
        began = process_time()
        try:
            q = RIVALS[name](target, seconds)
        except ModuleNotFoundError as error:
            print(f"{name:30}left out: pip install {error.name}")
            continue
        except ValueError as error:  # SVI that diverged: NaN in a distribution's parameters
            print(f"{name:30}failed: {str(error).splitlines()[0][:60]}")
            continue
        scores.append(judge(target, name, q, process_time() - began))
    return scores


def show(target: Target, scores: Sequence[Score]) -> list[Record]:
    """Print the table of one target; the same as records."""
    log_z, known = target.log_evidence, target.log_evidence is not None
    if log_z is None:
        log_z = max(scores, key=lambda score: score.ess).log_evidence
    print(f"\n{target.name} (log Z {log_z:.4f}{', exact' if known else ', estimated'})\n{HEAD}")
    records = []
    for s in scores:
        gap, eubo, error = log_z - s.elbo, s.upper - log_z, abs(s.log_evidence - log_z)
        count = "" if target.weights is None else f"{s.modes}/{len(target.weights)}"
        print(
            f"{s.method:30}{gap:9.4f}{eubo:9.4f}{count:>8}{s.coverage:7.3f}{error:11.4f}"
            f"{s.ess:7.3f}{s.seconds:7.1f}",
            flush=True,
        )
        row = {"target": target.name, "gap": gap, "eubo": eubo, "error": error} | s._asdict()
        # JSON has no NaN.
        records.append({key: None if value != value else value for key, value in row.items()})
    return records


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks guide", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", default="all", help="words of their names, by commas")
    parser.add_argument("--rivals", default="all", help="words of their names, by commas; or none")
    options = parser.parse_args(arguments)
    torch.set_default_dtype(torch.float64)

    def chosen(name: str, words: str) -> bool:
        return words == "all" or any(word in name for word in words.split(","))

    rivals = [name for name in RIVALS if chosen(name, options.rivals)]
    records = []
    for target in multimodal() + posteriors():
        if chosen(target.name, options.targets):
            records += show(target, compare(target, options.seed, rivals))
    print(json.dumps({"benchmark": "guide", "seed": options.seed, "rows": records}))
