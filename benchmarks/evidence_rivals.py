"""What `sample_smc` is measured against: nested sampling, and preconditioned tempered SMC."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from benchmarks.evidence_problem import Problem

LIVE_POINTS = 1000


class Answer(NamedTuple):
    """What a method says of a posterior.

    Attributes:
        log_evidence: in nats.
        claimed: its standard error as the method states it.
        x: draws, equally weighted, (n, dim).
        evaluations: of the model, a gradient as one.
        model_seconds: of CPU, within the model.
        flagged: whether it warned.
    """

    log_evidence: float
    claimed: float
    x: Tensor
    evaluations: int
    model_seconds: float
    flagged: bool = False


class Counted:
    """The log likelihood for samplers that know arrays, with a meter."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.count, self.seconds = problem, 0, 0.0

    def one(self, x: Any) -> float:
        """Of one point (dim,)."""
        return float(self.rows(x[None])[0])

    def rows(self, x: Any) -> Any:
        """Of points (n, dim)."""
        began = process_time()
        value = self.problem.log_likelihood(torch.as_tensor(x)).numpy()
        self.count, self.seconds = self.count + len(x), self.seconds + process_time() - began
        return value


def frozen(law: Any) -> Any:
    """The same law as SciPy knows it."""
    kind, at = type(law).__name__, {name: float(getattr(law, name)) for name in law.arg_constraints}
    if kind == "Beta":
        return stats.beta(at["concentration1"], at["concentration0"])
    if kind == "Uniform":
        return stats.uniform(at["low"], at["high"] - at["low"])
    if kind == "LogNormal":
        return stats.lognorm(at["scale"], scale=np.exp(at["loc"]))
    if kind == "StudentT":
        return stats.t(at["df"], at["loc"], at["scale"])
    plain = {
        "Normal": stats.norm,
        "Cauchy": stats.cauchy,
        "HalfNormal": stats.halfnorm,
        "HalfCauchy": stats.halfcauchy,
    }
    return plain[kind](at.get("loc", 0.0), at["scale"])


def dynesty(problem: Problem, seed: int) -> Answer:
    """Nested sampling as dynesty does it by default, with 1,000 live points."""
    from dynesty import NestedSampler

    likelihood, runs = Counted(problem), [(frozen(law), count) for law, count in problem.runs()]
    ends = np.cumsum([count for _, count in runs])

    def transform(u: Any) -> Any:
        parts = np.split(u, ends[:-1])
        return np.concatenate([law.ppf(part) for (law, _), part in zip(runs, parts, strict=True)])

    rng = np.random.default_rng(seed)
    sampler = NestedSampler(
        likelihood.one, transform, problem.dim, nlive=LIVE_POINTS, rstate=rng
    )  # fmt: skip
    sampler.run_nested(print_progress=False)
    res = sampler.results
    x = torch.as_tensor(res.samples_equal(rng))
    return Answer(
        float(res.logz[-1]), float(res.logzerr[-1]), x, likelihood.count, likelihood.seconds
    )


def pocomc(problem: Problem, seed: int) -> Answer:
    """Tempered SMC from the prior, preconditioned by a normalising flow (pocoMC's defaults)."""
    import pocomc as package

    likelihood = Counted(problem)
    prior = package.Prior([frozen(law) for law in problem.prior])
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)  # its flows know no other
    try:
        sampler = package.Sampler(prior, likelihood.rows, vectorize=True, random_state=seed)
        sampler.run(progress=False)
        x, weights, _, _ = sampler.posterior()
        log_z, error = sampler.evidence()
    finally:
        torch.set_default_dtype(before)
    rows = np.random.default_rng(seed).choice(len(x), 4000, p=weights / weights.sum())
    draws = torch.as_tensor(x[rows])
    return Answer(float(log_z), float(error), draws, likelihood.count, likelihood.seconds)


RIVALS: dict[str, Callable[[Problem, int], Answer]] = {"dynesty": dynesty, "pocoMC": pocomc}
