"""Annealing: draws of a guide are carried to the posterior of a density."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.bayesian.model import BayesianDensity
from lse_vi.bayesian.proposals import Proposal
from lse_vi.numerics.pareto import smooth
from lse_vi.numerics.tempering import Notes, Population, temper
from lse_vi.random.draws import rand_like, randn_like

CHUNK_NUMBERS = 20_000_000  # numbers in the largest array of one evaluation: 160 MB in float64
MOVES = 10  # Metropolis steps of each stage but the last: they part the copies of a draw
LAST_MOVES = 80  # of the last stage: more, because its draws are returned
# Lengths of the Metropolis steps, taken in turn, in units of root / sqrt(size), where root is the
# Cholesky factor of the draws' covariance. 2.38 is the best for a normal (Roberts, Gelman & Gilks
# 1997); 1 is accepted more often where the posterior is not normal.
LENGTHS = (2.38, 1.0)
COVARIANCE_JITTER = 1e-6  # added to variances of theta: with few draws the covariance is singular


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
def anneal(
    model: BayesianDensity, proposal: Proposal, draws: int, notes: Notes | None = None
) -> Annealed:
    """Carry draws of ``proposal`` to the posterior, see :mod:`lse_vi.numerics.tempering`.

    Copies are moved apart by random-walk Metropolis steps. The posterior has K! copies, one for
    each labelling of the modes, and a guide covers one copy. So r is the mean of the proposal over
    all labellings. The draws need no relabelling, because the posterior is the same for all
    labellings. The evidence is therefore right whether the copies are far apart or overlap.

    Args:
        model: log p(theta, x) is its ``log_joint``.
        proposal: the law to start from; it must reach wherever the posterior has mass.
        draws: number of draws.
        notes: kept after each stage.

    Raises:
        ValueError: if the log joint is finite at none of the draws.
    """
    start = _look(model, proposal, proposal.sample(draws))
    if bool((start["log_joint"] <= torch.finfo(start["theta"].dtype).min).all()):
        raise ValueError(
            f"model: the log joint is NaN or minus infinity at all {draws} draws of the guide; "
            "check the prior, and the units of the data"
        )

    def move(at: Population, power: Tensor, last: bool) -> Population:
        root = covariance_root(at["theta"])
        for i in range(LAST_MOVES if last else MOVES):
            length = LENGTHS[i % len(LENGTHS)] / math.sqrt(model.size)
            step = length * randn_like(at["theta"]) @ root.mT
            trial = _look(model, proposal, at["theta"] + step)
            gain = (1 - power) * (trial["log_r"] - at["log_r"])
            gain = gain + power * (trial["log_joint"] - at["log_joint"])
            accept = rand_like(gain).log() < gain
            at = {
                name: torch.where(accept.unsqueeze(-1) if old.dim() > 1 else accept, new, old)
                for (name, old), new in zip(at.items(), trial.values(), strict=True)
            }
        return at

    end = temper(start, move, notes=notes)
    # The units in which theta was annealed are those of standardised data.
    log_evidence = float(end.log_evidence) - model.points * float(model.coordinates.log_volume)
    return Annealed(end.population["theta"], log_evidence, float(end.variance.sqrt()))


@torch.no_grad()
def tail_shape(model: BayesianDensity, proposal: Proposal, draws: int) -> float:
    """k-hat of the importance weights of ``draws`` draws of ``proposal``.

    Above 0.7 the weights are unreliable (Vehtari et al. 2024): the proposal is far from the
    posterior.
    """
    return smooth(_look(model, proposal, proposal.sample(draws))["log_ratio"])[1]


def covariance_root(theta: Tensor) -> Tensor:
    """Cholesky factor of the covariance of draws (n, size), (size, size)."""
    jitter = COVARIANCE_JITTER * torch.eye(theta.shape[-1]).to(theta)
    return torch.linalg.cholesky(torch.cov(theta.T) + jitter)


def _look(model: BayesianDensity, proposal: Proposal, theta: Tensor) -> Population:
    """What is known of draws at ``theta`` (n, size), found in pieces that fit in memory."""
    points = len(model.x) + len(model.coordinates.nodes)
    units = sum(model.coordinates.hidden) + model.dim + 1
    pieces = theta.split(max(1, CHUNK_NUMBERS // (points * model.modes * units)))
    log_joint = torch.cat([model.unit_log_joint(piece) for piece in pieces])
    log_joint = log_joint.nan_to_num(nan=-torch.inf).clamp_min(torch.finfo(theta.dtype).min)
    log_r = proposal.log_prob(theta, model.modes)
    return {
        "theta": theta,
        "log_r": log_r,
        "log_joint": log_joint,
        "log_ratio": (log_joint - log_r).clamp_min(torch.finfo(theta.dtype).min),
    }
