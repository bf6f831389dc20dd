"""Annealing: draws of a guide are carried to the posterior of a density."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.bayesian.model import BayesianDensity
from lse_vi.bayesian.proposals import Proposal
from lse_vi.numerics.pareto import smooth

CHUNK_NUMBERS = 20_000_000  # numbers in the largest array of one evaluation: 160 MB in float64
# Effective sample size after each stage, as a share of the draws. A smaller share would save
# stages, but leave more copies of the same draws.
KEPT = 0.7
MOVES = 10  # Metropolis steps of each stage but the last: they part the copies of a draw
LAST_MOVES = 80  # of the last stage: more, because its draws are returned
# Lengths of the Metropolis steps, taken in turn, in units of root / sqrt(size), where root is the
# Cholesky factor of the draws' covariance. 2.38 is the best for a normal (Roberts, Gelman & Gilks
# 1997); 1 is accepted more often where the posterior is not normal.
LENGTHS = (2.38, 1.0)
COVARIANCE_JITTER = 1e-6  # added to variances of theta: with few draws the covariance is singular
BISECTIONS = 30  # halvings in the search for a step: it is then exact to 1e-9 of the range


class Annealed(NamedTuple):
    """Draws of the posterior, and the evidence that the annealing estimates.

    Attributes:
        theta: (draws, size), equally weighted.
        log_evidence: log p(x | K), in nats.
        log_evidence_error: its standard error, in nats.
    """

    theta: Tensor
    log_evidence: float
    log_evidence_error: float


@torch.no_grad()
def anneal(model: BayesianDensity, proposal: Proposal, draws: int) -> Annealed:
    r"""Carry draws of ``proposal`` to the posterior by sequential Monte Carlo.

    .. math:: p_b(\theta) \propto r(\theta)^{1-b} \, p(\theta, x)^b, \qquad b = 0 \to 1

    (Del Moral, Doucet & Jasra 2006). Each stage takes the largest step of b that leaves an
    effective sample size of ``KEPT`` times the draws, resamples, and moves the copies apart by
    random-walk Metropolis steps. The product of the stages' mean weights estimates the evidence;
    its error follows from how many descendants each first draw has (Lee & Whiteley 2018).

    The posterior has K! copies, one for each labelling of the modes, and a guide covers one copy.
    So r is the mean of the proposal over all labellings. The draws need no relabelling, because
    the posterior is the same for all labellings. The evidence is therefore right whether the
    copies are far apart or overlap.

    Args:
        model: log p(theta, x) is its ``log_joint``.
        proposal: the law to start from; it must reach wherever the posterior has mass.
        draws: number of draws.

    Raises:
        ValueError: if the log joint is finite at none of the draws.
    """
    theta = proposal.sample(draws)
    log_r, log_joint = _evaluate(model, proposal, theta)
    if bool((log_joint <= torch.finfo(theta.dtype).min).all()):
        raise ValueError(
            f"model: the log joint is NaN or minus infinity at all {draws} draws of the guide; "
            "check the prior, and the units of the data"
        )
    origin = torch.arange(draws)
    power, stages, log_evidence = 0.0, 0, 0.0
    while power < 1:
        step = _next_step(log_joint - log_r, 1 - power)
        log_w = step * (log_joint - log_r)
        log_evidence += float(log_w.logsumexp(0)) - math.log(draws)
        power, stages = min(1.0, power + step), stages + 1
        rows = torch.multinomial(torch.softmax(log_w, 0), draws, replacement=True)
        theta, log_r, log_joint, origin = theta[rows], log_r[rows], log_joint[rows], origin[rows]
        root = covariance_root(theta)
        for i in range(MOVES if power < 1 else LAST_MOVES):
            length = LENGTHS[i % len(LENGTHS)] / math.sqrt(model.size)
            trial = theta + length * torch.randn_like(theta) @ root.mT
            log_r_there, log_joint_there = _evaluate(model, proposal, trial)
            gain = (1 - power) * (log_r_there - log_r) + power * (log_joint_there - log_joint)
            accept = torch.rand_like(gain).log() < gain
            theta = torch.where(accept.unsqueeze(-1), trial, theta)
            log_r = torch.where(accept, log_r_there, log_r)
            log_joint = torch.where(accept, log_joint_there, log_joint)
    # The probability that two draws descend from the same first draw.
    kin = float((origin.bincount() / draws).square().sum())
    variance = 1 - (draws / (draws - 1)) ** (stages + 1) * (1 - kin)
    log_evidence -= len(model.x) * float(model.coordinates.log_volume)  # of data in their units
    return Annealed(theta, log_evidence, math.sqrt(max(variance, 0.0)))


@torch.no_grad()
def tail_shape(model: BayesianDensity, proposal: Proposal, draws: int) -> float:
    """k-hat of the importance weights of ``draws`` draws of ``proposal``.

    Above 0.7 the weights are unreliable (Vehtari et al. 2024): the proposal is far from the
    posterior.
    """
    log_r, log_joint = _evaluate(model, proposal, proposal.sample(draws))
    return smooth(log_joint - log_r)[1]


def covariance_root(theta: Tensor) -> Tensor:
    """Cholesky factor of the covariance of draws (n, size), (size, size)."""
    jitter = COVARIANCE_JITTER * torch.eye(theta.shape[-1]).to(theta)
    return torch.linalg.cholesky(torch.cov(theta.T) + jitter)


def _evaluate(model: BayesianDensity, proposal: Proposal, theta: Tensor) -> tuple[Tensor, Tensor]:
    """log r and log joint at ``theta`` (n, size), (n,) each, in pieces that fit in memory."""
    points = len(model.x) + len(model.coordinates.nodes)
    units = sum(model.coordinates.hidden) + model.dim + 1
    pieces = theta.split(max(1, CHUNK_NUMBERS // (points * model.modes * units)))
    log_joint = torch.cat([model.unit_log_joint(piece) for piece in pieces])
    log_joint = log_joint.nan_to_num(nan=-torch.inf).clamp_min(torch.finfo(theta.dtype).min)
    return proposal.log_prob(theta, model.modes), log_joint


def _next_step(log_w: Tensor, most: float) -> float:
    """The largest step of b, up to ``most``, that leaves an effective share ``KEPT`` of the draws.

    Draws with a log joint of minus infinity are lost at any step. If they are more than
    1 - ``KEPT`` of all, no step leaves ``KEPT``; the smallest is taken, and resampling drops them.
    """

    def kept(step: float) -> float:
        """Effective sample size after ``step``, as a share of the draws."""
        return 1 / (len(log_w) * float(torch.softmax(step * log_w, 0).square().sum()))

    if kept(most) >= KEPT:
        return most
    low, high = 0.0, most
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) >= KEPT else (low, middle)
    return low or high
