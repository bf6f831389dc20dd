"""From a guide's draws to draws of a density's posterior, by annealing."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.bayesian.model import BayesianDensity
from lse_vi.bayesian.proposals import Proposal
from lse_vi.numerics.pareto import smooth

CHUNK_NUMBERS = 20_000_000  # numbers in the largest array of one evaluation
KEPT = 0.7  # effective share of the draws after each stage
MOVES, LAST_MOVES = 10, 80  # Metropolis steps of each stage: the last one's draws are kept
LENGTHS = (2.38, 1.0)  # times sqrt(size) of them: the best for a normal (Roberts et al. 1997), less


class Annealed(NamedTuple):
    """Draws of the posterior, and the evidence that their way there gives.

    Attributes:
        theta: (draws, size), equally weighted.
        log_evidence: log p(x | K), in nats.
        log_evidence_error: its standard error.
    """

    theta: Tensor
    log_evidence: float
    log_evidence_error: float


@torch.no_grad()
def anneal(model: BayesianDensity, proposal: Proposal, draws: int) -> Annealed:
    r"""Carry draws of ``proposal`` to the posterior by sequential Monte Carlo.

    .. math:: p_b(\theta) \propto r(\theta)^{1-b} \, p(\theta, x)^b, \qquad b = 0 \to 1

    (Del Moral, Doucet & Jasra 2006). Each stage takes the largest step of b after which ``KEPT`` of
    the draws count, resamples, and parts the copies by random-walk Metropolis steps. The mean
    weights of the stages multiply to the evidence; its error is that of the draws' descent from
    the first ones (Lee & Whiteley 2018).

    The posterior has K! copies, one for each labelling of the modes; a guide sits on one. So r is
    the proposal's mean over all labellings, which the draws need not notice, as the posterior is
    the same for all of them: the evidence is right where the copies are apart and where they touch.

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
    kin = float((origin.bincount() / draws).square().sum())  # chance that two draws are of one
    variance = 1 - (draws / (draws - 1)) ** (stages + 1) * (1 - kin)
    return Annealed(theta, log_evidence, math.sqrt(max(variance, 0.0)))


@torch.no_grad()
def tail_shape(model: BayesianDensity, proposal: Proposal, draws: int) -> float:
    """k-hat of the weights of draws of ``proposal``; above 0.7 they alone cannot be trusted."""
    log_r, log_joint = _evaluate(model, proposal, proposal.sample(draws))
    return smooth(log_joint - log_r)[1]


def covariance_root(theta: Tensor) -> Tensor:
    """Cholesky factor of the covariance of draws (n, size)."""
    return torch.linalg.cholesky(torch.cov(theta.T) + 1e-6 * torch.eye(theta.shape[-1]).to(theta))


def _evaluate(model: BayesianDensity, proposal: Proposal, theta: Tensor) -> tuple[Tensor, Tensor]:
    """log r and log joint of (n, size), in pieces that fit in memory."""
    points = len(model.x) + len(model.coordinates.nodes)
    units = sum(model.coordinates.hidden) + model.dim + 1
    pieces = theta.split(max(1, CHUNK_NUMBERS // (points * model.modes * units)))
    log_joint = torch.cat([model.log_joint(piece) for piece in pieces])
    log_joint = log_joint.nan_to_num(nan=-torch.inf).clamp_min(torch.finfo(theta.dtype).min)
    return proposal.log_prob(theta, model.modes), log_joint


def _next_step(log_w: Tensor, most: float) -> float:
    """The largest step of b, up to ``most``, after which ``KEPT`` of the draws count.

    Draws without a density are lost at any step: where they are many, the smallest one drops them.
    """

    def kept(step: float) -> float:
        return 1 / (len(log_w) * float(torch.softmax(step * log_w, 0).square().sum()))

    if kept(most) >= KEPT:
        return most
    low, high = 0.0, most
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) >= KEPT else (low, middle)
    return low or high
