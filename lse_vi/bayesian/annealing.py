r"""Annealing: draws of the prior of a density are carried to its posterior.

.. math:: p_b(\theta) \propto p(\theta) \, p(x \mid \theta)^b, \qquad b = 0 \to 1

The prior reaches every explanation of the data, such as all shares of five modes between two
groups. A law around one peak of the posterior does not, and its evidence comes out too small, by
two nats for five modes where two are enough.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.bayesian.model import BayesianDensity
from lse_vi.bayesian.proposals import Student, labellings
from lse_vi.numerics.linear_algebra import log_det
from lse_vi.numerics.tempering import Notes, Population, WithMoves, temper
from lse_vi.random.draws import categorical, rand, rand_like, randn_like
from lse_vi.sampling.leapfrog import leapfrog

# Effective share of the draws after a stage. Half of them saves a third of the stages against 0.7,
# and moves as below part the copies: z-scores of evidences over seeds deviate by 0.9 to 1.3.
KEPT = 0.5
# Trajectories of each stage but the last, and of the last one, whose draws are returned. With one
# in place of two the evidence of five modes came out 0.2 to 0.4 too small, with errors of 0.15.
MOVES, LAST_MOVES = 2, 4
LEAPS = 3  # leapfrog steps of a trajectory: with step sizes of about 0.4, a fifth of a period
ACCEPTED = 0.8  # share of trajectories that step sizes aim at (Beskos et al. 2013: 0.65 to 0.8)
FIRST_STEP = 0.9  # times size^(-1/4), which keeps acceptance in any dimension (Neal 2011)
JITTER = (0.7, 1.0)  # range of a random factor of a step: no trajectory is a period for all draws
COVARIANCE_JITTER = 1e-6  # added to variances of theta: with few draws the covariance is singular
MATCHED = 100  # points at which labellings are compared: an order of the modes needs no more
PIECE_NUMBERS = 2_000_000  # numbers in the largest array of one evaluation: 16 MB in float64


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
    model: BayesianDensity, draws: int, *, progress: bool = False, notes: Notes | None = None
) -> Annealed:
    """Carry draws of the prior to the posterior, see :mod:`lse_vi.numerics.tempering`.

    Args:
        model: log p(theta, x) is its ``log_joint``.
        draws: number of draws.
        progress: show a bar.
        notes: kept after each stage.

    Raises:
        ValueError: if the log joint is finite at none of the draws.
    """
    moves = LabelledMoves(model)
    start = moves.look(model.prior_sample(draws))
    if bool((start["log_joint"] <= moves.least).all()):
        raise ValueError(
            f"model: the log joint is NaN or minus infinity at all {draws} draws of the prior; "
            "check the prior, and the units of the data"
        )
    kept = WithMoves(notes, moves, "step") if notes else None
    end = temper(start, moves, kept=KEPT, progress=progress, steady=False, notes=kept)
    # The units in which theta was annealed are those of standardised data.
    log_evidence = float(end.log_evidence) - model.points * float(model.coordinates.log_volume)
    return Annealed(end.population["theta"], log_evidence, float(end.variance.sqrt()))


class LabelledMoves:
    """Hamiltonian moves of a population in the frame of its covariance.

    All K! labellings of the modes are equally probable, at every b. A frame describes one of them:
    for it each draw gets the labelling in which its modes share most points with those of the best
    draw, and t is a law with mean and covariance of these. To move, a draw s takes one of its
    labellings with the probability r(s) = t(s) / sum of t over all labellings. Given that, the move
    has p_b(s) r(s) for its target: p_b is left invariant, although the frame prefers a labelling.

    Args:
        model: its ``log_joint`` is that of the end, its ``log_prior`` that of the start.

    Attributes:
        step: adapted to the share of trajectories that are accepted.
        least: stands for a log joint that is not finite.
    """

    def __init__(self, model: BayesianDensity) -> None:
        self.model = model
        self.step = FIRST_STEP * model.size**-0.25
        self.least = torch.finfo(model.x.dtype).min / 4
        rows = torch.linspace(0, len(model.x) - 1, min(MATCHED, len(model.x))).round().long()
        self.points, self.worth = model.unit_x[rows], model.weights[rows]

    def look(self, theta: Tensor) -> Population:
        """What is known of draws at ``theta`` (n, size), found in pieces that fit in memory."""
        at = self.model.coordinates
        most = at.modes * (sum(at.hidden) + at.dim + 1) * at.nodes.x.shape[1]
        pieces = [self._ascent(part) for part in theta.split(max(1, PIECE_NUMBERS // most))]
        log_joint, slope = (torch.cat(part) for part in zip(*pieces, strict=True))
        log_joint = log_joint.nan_to_num(self.least, posinf=self.least).clamp_min(self.least)
        log_prior = self.model.log_prior(theta)
        return {
            "theta": theta,
            "log_prior": log_prior,
            "log_joint": log_joint,
            "log_ratio": (log_joint - log_prior).clamp_min(self.least),
            "slope": slope.nan_to_num(0.0, 0.0, 0.0),
        }

    def __call__(self, population: Population, power: Tensor, last: bool) -> Population:
        """Move all draws, under p_b with one b = ``power``, (n,)."""
        population = self._matched(population)
        theta = population["theta"]
        frame = Student(theta.mean(0), covariance_root(theta))
        for _ in range(LAST_MOVES if last else MOVES):
            population = self._move(population, float(power[0]), frame)
        return population

    @torch.enable_grad()
    def _ascent(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The log joint (n,) and its gradient (n, size)."""
        theta = theta.detach().requires_grad_()
        log_joint = self.model.unit_log_joint(theta)
        (slope,) = torch.autograd.grad(log_joint.sum(), theta)
        return log_joint.detach(), slope

    def _matched(self, at: Population) -> Population:
        """The same draws, each with the labelling that is nearest to the best draw's."""
        theta, modes = at["theta"], self.model.modes
        share = self._shares(theta)
        best = share[at["log_joint"].argmax()]
        common = (share * self.worth) @ best.mT  # (n, block, place)
        every = labellings(modes)
        return self._relabelled(at, (common.mT.flatten(1) @ every.to(common).mT).argmax(-1))

    def _relabelled(self, at: Population, labelling: Tensor) -> Population:
        """The same draws in a labelling of ``labellings`` each, (n,)."""
        modes = self.model.modes
        place_by_block = labellings(modes)[labelling].unflatten(-1, (modes, modes))
        order = place_by_block.argmax(-1).unsqueeze(-1)

        def ordered(part: Tensor) -> Tensor:
            blocks = part.unflatten(-1, (modes, -1))
            return blocks.gather(1, order.expand_as(blocks)).flatten(-2)

        return {name: ordered(part) if part.dim() > 1 else part for name, part in at.items()}

    def _shares(self, theta: Tensor) -> Tensor:
        """Of each mode in some of the points, as if modes were Gaussian: (n, modes, points)."""
        at = self.model.coordinates.standardised
        parts = at.split(theta)
        factor = at._precision_factor(parts)
        u = factor @ self.points.mT - (factor @ parts["mean"].unsqueeze(-1))
        return torch.softmax(
            parts["mass"].unsqueeze(-1) + log_det(factor).unsqueeze(-1) - 0.5 * u.square().sum(-2),
            1,
        )

    def _move(self, at: Population, power: float, frame: Student) -> Population:
        """One trajectory for each draw, accepted or not."""
        prior, (low, high), root = self.model.coordinates, JITTER, frame.root
        log_t = frame.by_labelling(at["theta"], self.model.modes)
        labelling = categorical(log_t, 1)[0]
        at = self._relabelled(at, labelling)
        log_r = log_t.log_softmax(-1).gather(1, labelling.unsqueeze(1)).squeeze(1)

        def height(there: Population) -> Tensor:
            return torch.lerp(there["log_prior"], there["log_joint"], power)

        def slope(there: Population) -> Tensor:
            pull = (prior.prior_mean - there["theta"]) / prior.prior_sd.square()
            return torch.lerp(pull, there["slope"], power) @ root

        def force(u: Tensor) -> tuple[Population, Tensor]:
            there = self.look(at["theta"] + u @ root.mT)
            return there, slope(there)

        p = randn_like(at["theta"])
        step = self.step * (low + (high - low) * rand(len(p), 1).to(p))
        before = height(at) + log_r - 0.5 * p.square().sum(1)
        there, p = leapfrog(force, torch.zeros_like(p), p, slope(at), step, LEAPS)
        log_r = frame.by_labelling(there["theta"], self.model.modes).log_softmax(-1)[:, 0]
        gain = height(there) + log_r - 0.5 * p.square().sum(1) - before
        chance = gain.nan_to_num(-torch.inf).clamp_max(0.0).exp()
        accept = rand_like(chance) < chance
        self.step *= math.exp(float(chance.mean()) - ACCEPTED)
        return {
            name: torch.where(accept.unsqueeze(-1) if old.dim() > 1 else accept, there[name], old)
            for name, old in at.items()
        }


def covariance_root(theta: Tensor) -> Tensor:
    """Cholesky factor of the covariance of draws (n, size), (size, size)."""
    jitter = COVARIANCE_JITTER * torch.eye(theta.shape[-1]).to(theta)
    return torch.linalg.cholesky(torch.cov(theta.T) + jitter)
