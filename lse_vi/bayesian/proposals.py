"""Proposals: the laws of guides, averaged over labellings of the modes, and how near they are."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from lse_vi.bayesian.model import BayesianDensity
from lse_vi.distribution.density import LSEDensity
from lse_vi.numerics.linear_algebra import log_det
from lse_vi.numerics.pareto import smooth
from lse_vi.random.draws import chi2, randn

AT_ONCE = 500  # draws of which an array is held at once, to bound the memory
MOST_MODES = 6  # ``log_prob`` sums over all K! labellings, 720 for six modes


class Proposal(Protocol):
    """A law of theta that can be drawn from and evaluated."""

    def sample(self, count: int) -> Tensor:
        """Draws of theta, (count, size)."""
        ...

    def log_prob(self, theta: Tensor, modes: int) -> Tensor:
        """log of the mean of its density over the labellings of the modes, (n, size) -> (n,)."""
        ...


class Student:
    """Student's t with mean ``loc`` and covariance root root^T nu / (nu - 2).

    Its tails are heavier than a normal's, so it reaches what a normal guide misses.

    Args:
        loc: (size,).
        root: Cholesky factor, (size, size).
        freedom: nu; with 8, tails are clearly heavier, and most draws are still near the mode.
    """

    def __init__(self, loc: Tensor, root: Tensor, freedom: float = 8.0) -> None:
        self.loc, self.root, self.freedom = loc, root, freedom

    def sample(self, count: int) -> Tensor:
        """Draws of theta, (count, size)."""
        wide = self.freedom / chi2(self.freedom, (count, 1), self.loc)
        e = randn(count, len(self.loc)).to(self.loc) * wide.sqrt()
        return self.loc + e @ self.root.mT

    def guide_sample(self, count: int) -> Tensor:
        """Draws of the normal guide with this mean and this ``root``, (count, size)."""
        return self.loc + randn(count, len(self.loc)).to(self.loc) @ self.root.mT

    def log_prob(self, theta: Tensor, modes: int) -> Tensor:
        """log of the mean of its density over the labellings of the modes, (n, size) -> (n,)."""
        return self.by_labelling(theta, modes).logsumexp(-1) - math.lgamma(modes + 1)

    def by_labelling(self, theta: Tensor, modes: int) -> Tensor:
        """log of its density for every labelling of the modes: (n, size) -> (n, labellings).

        The white vector root^-1 (theta - loc) is a sum of one term per block. Let e_ki be the term
        of block i where it takes place k. Then labelling s has the squared norm
        sum_kl e_k,s(k) . e_l,s(l). The products are computed once, and summed for each labelling.
        """
        nu, size = self.freedom, len(self.loc)
        white = torch.linalg.solve_triangular(self.root, torch.eye(size).to(theta), upper=False)
        white = white.unflatten(-1, (modes, -1))
        blocks, places = theta.unflatten(-1, (modes, -1)), self.loc.unflatten(-1, (modes, -1))
        gap = blocks.unsqueeze(-3) - places.unsqueeze(-2)  # (n, place, block, size / modes)
        e = torch.einsum("dkc,nkic->nkid", white, gap).flatten(1, 2)
        chosen = labellings(modes).to(e)  # (labellings, place * block), 0 or 1
        pairs = (chosen.unsqueeze(2) * chosen.unsqueeze(1)).flatten(1)  # of the same labelling
        square = (e @ e.mT).flatten(1) @ pairs.mT
        constant = math.lgamma((nu + size) / 2) - math.lgamma(nu / 2)
        constant -= 0.5 * size * math.log(nu * math.pi) + float(log_det(self.root))
        return constant - 0.5 * (nu + size) * torch.log1p(square / nu)


class InFrame:
    """A density of z as a law of theta = center + root z, in the frame of ``model``."""

    def __init__(self, density: LSEDensity, model: BayesianDensity) -> None:
        self.density, self.model = density, model

    def sample(self, count: int) -> Tensor:
        """Draws of theta, (count, size)."""
        return self.model.theta(self.density.sample((count,)))

    guide_sample = sample

    def log_prob(self, theta: Tensor, modes: int) -> Tensor:
        """log of the mean of its density over the labellings of the modes, (n, size) -> (n,)."""
        root, blocks = self.model.root, theta.unflatten(-1, (modes, -1))
        total = torch.full_like(theta[:, 0], -torch.inf)
        for order in itertools.permutations(range(modes)):
            gap = blocks[:, list(order)].flatten(-2) - self.model.center
            z = torch.linalg.solve_triangular(root, gap.mT, upper=False).mT
            total = torch.logaddexp(total, self.density.log_prob(z.contiguous()))
        return total - log_det(root) - math.lgamma(modes + 1)


@torch.no_grad()
def tail_shape(model: BayesianDensity, proposal: Proposal, draws: int) -> float:
    """k-hat of the importance weights of ``draws`` draws of ``proposal``.

    Above 0.7 the weights are unreliable (Vehtari et al. 2024): the proposal is far from the
    posterior.
    """
    parts = proposal.sample(draws).split(AT_ONCE)
    least = torch.finfo(model.x.dtype).min
    log_joint = torch.cat([model.unit_log_joint(theta) for theta in parts])
    log_r = torch.cat([proposal.log_prob(theta, model.modes) for theta in parts])
    return smooth((log_joint.nan_to_num(nan=least) - log_r).clamp_min(least))[1]


@lru_cache(maxsize=MOST_MODES)
def labellings(modes: int) -> Tensor:
    """1 where block i takes place k, for each labelling: (labellings, place * block)."""
    orders = torch.tensor(list(itertools.permutations(range(modes))))
    return torch.nn.functional.one_hot(orders, modes).flatten(1)
