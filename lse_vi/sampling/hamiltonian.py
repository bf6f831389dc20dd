r"""Moves of draws within a tempered posterior, each in the frame of a part of the proposal.

The extended law p_b(x) r_k(x), with r_k the responsibility of part k for x, has p_b as its
marginal. Given x, a part is drawn from r_k(x). Given the part, Hamiltonian steps in its frame
u = T_k^{-1}(x - m_k) leave the law of u invariant, whose log density is

.. math:: b \, (\log p - \log r) + \log t_k(u) + \text{const}.

So each draw moves in coordinates in which its own mode is round, however narrow or correlated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lse_vi.guides.proposal import FREEDOM, Proposal
from lse_vi.joint.log_joint import LogJoint
from lse_vi.numerics.tempering import Population
from lse_vi.random.draws import categorical, rand, rand_like, randn_like
from lse_vi.sampling.leapfrog import leapfrog

ACCEPTED = 0.75  # share of proposals that step sizes aim at (Beskos et al. 2013: 0.65 to 0.8)
ADAPTATION = 1.0  # gain of log step sizes per excess of acceptance
# Hamiltonian steps of a proposal, and the range of a random factor of their size: together about a
# quarter of the period of a normal law, after which its draws are new.
LEAPS, JITTER = 3, (0.7, 1.0)
SHORTEST = 0.01  # the same factor for draws that belong to the prior, log-uniform from here to 1
FIRST_STEP = 0.9  # times dim^(-1/4), which keeps acceptance in any dimension (Neal 2011)
MOVES, LAST_MOVES = 2, 8  # proposals in each stage, and in the last one, whose draws are returned


class FrameMoves:
    """Hamiltonian moves of a population, with a step size for each part of the proposal.

    Args:
        log_joint: log p.
        proposal: the law r.

    Attributes:
        step: of each part, (parts,), adapted to the acceptance.
        evaluations: the number of points at which the model was run.
    """

    def __init__(self, log_joint: LogJoint, proposal: Proposal) -> None:
        self.log_joint, self.proposal = log_joint, proposal
        self.step = torch.full_like(proposal.log_share, FIRST_STEP * proposal.loc.shape[1] ** -0.25)
        self.evaluations = 0

    def look(self, x: Tensor) -> Population:
        """What is known of draws at ``x`` (n, dim): densities and slopes of p and r."""
        if self.proposal.prior is None:
            value, score = self.log_joint.value_and_gradient(x)
            log_prior, pull = None, None
        else:
            value, score, log_prior, pull = self.log_joint.gradients_with_prior(x)
        self.evaluations += len(x)
        each, log_r, score_r = self.proposal.value_and_gradients(x, log_prior, pull)
        least = torch.finfo(value.dtype).min / 4  # finite where the model's density is 0 or NaN
        value = value.nan_to_num(least, posinf=least, neginf=least).clamp_min(least)
        return {
            "x": x,
            "each": each,
            "log_ratio": (value - log_r).clamp_min(least),
            "slope": (score - score_r).nan_to_num(0.0, 0.0, 0.0),
            "prior_slope": torch.zeros_like(x) if pull is None else pull.nan_to_num(0.0, 0.0, 0.0),
        }

    def __call__(self, population: Population, power: Tensor, last: bool) -> Population:
        """Move all draws, under p_b with b = ``power`` (n,)."""
        for _ in range(LAST_MOVES if last else MOVES):
            population = self._move(population, power)
        return population

    def _move(self, at: Population, power: Tensor) -> Population:
        """One proposal for each draw, accepted or not."""
        part = categorical(at["each"], 1)[0]
        loc, root = self.proposal.loc[part], self.proposal.root[part]
        of_prior = torch.zeros_like(part, dtype=torch.bool)
        if self.proposal.prior is not None:
            of_prior = part == len(self.step) - 1
        (low, high), chance = JITTER, rand(len(part), 1).to(loc)
        factor = low + (high - low) * chance
        factor = torch.where(of_prior.unsqueeze(1), SHORTEST**chance, factor)
        eps = self.step[part].unsqueeze(1) * factor
        u = torch.linalg.solve_triangular(root, (at["x"] - loc).unsqueeze(-1), upper=False)
        u, p = u.squeeze(-1), randn_like(loc)

        def force(u: Tensor) -> tuple[Population, Tensor]:
            there = self.look(loc + (root @ u.unsqueeze(-1)).squeeze(-1))
            return there, _slope(there, u, root, power, of_prior)

        before = _height(at, part, power) - 0.5 * p.square().sum(1)
        there, p = leapfrog(force, u, p, _slope(at, u, root, power, of_prior), eps, LEAPS)
        gain = _height(there, part, power) - 0.5 * p.square().sum(1) - before
        chance = gain.nan_to_num(-torch.inf).clamp_max(0.0).exp()
        accept = rand_like(chance) < chance
        self._adapt(part, chance)
        return {
            name: torch.where(accept.reshape(-1, *(1,) * (old.dim() - 1)), there[name], old)
            for name, old in at.items()
        }

    def _adapt(self, part: Tensor, chance: Tensor) -> None:
        """Lengthen or shorten the steps of each part by the acceptance of its draws."""
        count = torch.zeros_like(self.step).index_add(0, part, torch.ones_like(chance))
        excess = torch.zeros_like(self.step).index_add(0, part, chance - ACCEPTED)
        # One proposal among many tells little: as if each part had seen ten at the right rate.
        self.step = self.step * (ADAPTATION * excess / (count + 10)).exp()


def _height(at: Population, part: Tensor, power: Tensor) -> Tensor:
    """b (log p - log r) + log t_k, up to a constant of each part, (n,)."""
    return power * at["log_ratio"] + at["each"].gather(1, part.unsqueeze(1)).squeeze(1)


def _slope(at: Population, u: Tensor, root: Tensor, power: Tensor, of_prior: Tensor) -> Tensor:
    """The gradient of :func:`_height` in the frames of the parts, (n, dim)."""
    pull = (root.mT @ at["slope"].unsqueeze(-1)).squeeze(-1)
    square = u.square().sum(1, keepdim=True)
    of_t = -(FREEDOM + u.shape[1]) / (FREEDOM + square) * u
    prior = (root.mT @ at["prior_slope"].unsqueeze(-1)).squeeze(-1)
    return power.unsqueeze(1) * pull + torch.where(of_prior.unsqueeze(1), prior, of_t)
