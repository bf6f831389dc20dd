"""Proposals for a density's posterior, and the importance weights that make up for them."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lse_vi.bayesian_density import BayesianDensity
from lse_vi.density import LSEDensity
from lse_vi.diagnostics import smooth

CHUNK = 20_000_000  # numbers in the largest array of one evaluation


class Proposal(Protocol):
    """A law of theta that can be drawn from and evaluated."""

    def sample(self, count: int) -> Tensor:
        """(count, size)."""
        ...

    def log_prob(self, theta: Tensor) -> Tensor:
        """(n, size) -> (n,)."""
        ...


class Student:
    """Student's t with the mean and (times nu / (nu - 2)) covariance of a normal.

    Its tails are those that a normal guide lacks.

    Args:
        loc: (size,).
        root: Cholesky factor, (size, size).
        freedom: nu; infinite makes the normal.
    """

    def __init__(self, loc: Tensor, root: Tensor, freedom: float = 8.0) -> None:
        self.loc, self.root, self.freedom = loc, root, freedom

    def sample(self, count: int) -> Tensor:
        """(count, size)."""
        e = torch.randn(count, len(self.loc)).to(self.loc)
        if math.isfinite(self.freedom):
            chi2 = torch.distributions.Chi2(self.loc.new_tensor(self.freedom)).sample((count, 1))
            e = e * (self.freedom / chi2).sqrt()
        return self.loc + e @ self.root.mT

    def log_prob(self, theta: Tensor) -> Tensor:
        """(n, size) -> (n,)."""
        nu, size = self.freedom, len(self.loc)
        e = torch.linalg.solve_triangular(self.root, (theta - self.loc).mT, upper=False)
        square = e.square().sum(0)
        log_det = self.root.diagonal().log().sum()
        if math.isinf(nu):
            return -0.5 * square - log_det - 0.5 * size * math.log(2 * math.pi)
        constant = math.lgamma((nu + size) / 2) - math.lgamma(nu / 2)
        constant -= 0.5 * size * math.log(nu * math.pi)
        return constant - log_det - 0.5 * (nu + size) * torch.log1p(square / nu)


class InFrame:
    """A density of z, as a law of theta = center + root z."""

    def __init__(self, density: LSEDensity, model: BayesianDensity) -> None:
        self.density, self.model = density, model

    def sample(self, count: int) -> Tensor:
        """(count, size)."""
        return self.model.theta(self.density.sample((count,)))

    def log_prob(self, theta: Tensor) -> Tensor:
        """(n, size) -> (n,)."""
        root = self.model.root
        z = torch.linalg.solve_triangular(root, (theta - self.model.center).mT, upper=False).mT
        return self.density.log_prob(z.contiguous()) - root.diagonal().log().sum()


class Weighted(NamedTuple):
    """Draws of a proposal as importance samples of the posterior.

    Attributes:
        theta: (n, size).
        log_weights: log joint - log proposal, (n,).
        smoothed: normalised log weights after Pareto smoothing, (n,).
        elbo: mean of the log weights, in nats: of the proposal over all labellings.
        log_evidence: log p(x | K), in nats.
        log_evidence_error: its standard error.
        ess: effective number of draws.
        k_hat: shape of the tail of the weights; above 0.7 they cannot be trusted.
    """

    theta: Tensor
    log_weights: Tensor
    smoothed: Tensor
    elbo: float
    log_evidence: float
    log_evidence_error: float
    ess: float
    k_hat: float


@torch.no_grad()
def weigh(model: BayesianDensity, proposal: Proposal, count: int) -> Weighted:
    r"""Draw from ``proposal`` and weigh by the posterior, over all labellings of the modes.

    The posterior has K! copies, one for each labelling of the modes; a guide sits on one. The
    proposal is made symmetric, \bar r(theta) = mean over labellings s of r(s theta), which the
    draws need not notice, as the posterior is the same for all of them: the evidence comes out
    right where the copies are apart and where they touch.
    """
    theta = proposal.sample(count)
    log_joint = torch.cat([model.log_joint(part) for part in theta.split(_rows(model))])
    blocks = theta.unflatten(-1, (model.modes, -1))
    labellings = itertools.permutations(range(model.modes))
    log_r = torch.full_like(log_joint, -torch.inf)
    for order in labellings:
        log_r = torch.logaddexp(log_r, proposal.log_prob(blocks[:, list(order)].flatten(-2)))
    log_w = log_joint - log_r + math.lgamma(model.modes + 1)
    log_w = log_w.nan_to_num(nan=-torch.inf).clamp_min(torch.finfo(log_w.dtype).min)
    w = (log_w - log_w.amax()).exp()
    smoothed, k_hat = smooth(log_w)
    return Weighted(
        theta=theta,
        log_weights=log_w,
        smoothed=smoothed,
        elbo=float(log_w.mean()),
        log_evidence=float(log_w.amax() + w.mean().log()),
        log_evidence_error=float(w.std() / w.mean()) / math.sqrt(count),
        ess=float(w.sum() ** 2 / w.square().sum()),
        k_hat=k_hat,
    )


@torch.no_grad()
def move(model: BayesianDensity, theta: Tensor, root: Tensor, *, moves: int = 10) -> Tensor:
    """Random-walk Metropolis steps of every draw, which leave the posterior as it is.

    After resampling some draws are copies of one another; steps of the best length, 2.38 / sqrt(d)
    standard deviations (Roberts, Gelman & Gilks 1997), part them (Gilks & Berzuini 2001).

    Args:
        theta: draws (n, size).
        root: root of the posterior's covariance, about, (size, size).
    """
    rows, step = _rows(model), 2.38 / math.sqrt(theta.shape[-1]) * root
    log_joint = torch.cat([model.log_joint(part) for part in theta.split(rows)])
    for _ in range(moves):
        trial = theta + torch.randn_like(theta) @ step.mT
        there = torch.cat([model.log_joint(part) for part in trial.split(rows)])
        accept = torch.rand_like(there).log() < there - log_joint  # False where `there` is NaN
        theta = torch.where(accept.unsqueeze(-1), trial, theta)
        log_joint = torch.where(accept, there, log_joint)
    return theta


def _rows(model: BayesianDensity) -> int:
    """Draws in one evaluation, so that it fits in memory."""
    points = len(model.x) + len(model.coordinates.nodes)
    units = sum(model.coordinates.hidden) + model.dim + 1
    return max(1, CHUNK // (points * model.modes * units))
