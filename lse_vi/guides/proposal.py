r"""A mixture of Student's t laws that covers a posterior: the start of its importance samples.

.. math:: r(x) = (1 - a) \sum_k w_k \, t_6(x; m_k, 1.3\, S_k) + a \, t_6(x; m, 1.44\, C)

The parts have the centres m_k, covariances S_k and masses w_k of a guide's modes. The last part is
as wide as the prior, with its median m and covariance C: weights under r show mass that lies
outside the guide, which the guide's own draws cannot (Hesterberg 1995, defensive mixtures).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.modes import mode_minima
from lse_vi.network.icnn import whitened
from lse_vi.numerics.linear_algebra import log_det, scale_tril
from lse_vi.numerics.tempering import stratified
from lse_vi.random.draws import chi2, randn, randperm

FREEDOM = 6.0  # of t: its tails are heavier than those of most posteriors, yet few draws are far
WIDER = 1.3  # times the covariance of a mode
PRIOR_SHARE, PRIOR_WIDER = 0.1, 1.44  # of the part as wide as the prior; times its covariance


@dataclass(frozen=True)
class Proposal:
    """A mixture of t laws.

    Attributes:
        loc: centres, (parts, dim).
        root: T with the scale matrix T T^T, lower triangular, (parts, dim, dim).
        log_share: logarithms of the shares, (parts,).

    Example:
        >>> law = Proposal(torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3), torch.zeros(2) - 0.693)
        >>> x, part = law.sample(4)
        >>> x.shape, law.log_prob(x).shape
        (torch.Size([4, 3]), torch.Size([4]))
    """

    loc: Tensor
    root: Tensor
    log_share: Tensor

    @classmethod
    def around(cls, loc: Tensor, root: Tensor, log_share: Tensor, prior: Tensor) -> Proposal:
        """The parts of a guide, and one as wide as draws (n, dim) from the prior.

        Args:
            loc, root: centres and Cholesky factors of the covariances, (parts, dim, ...).
            log_share: log masses of the parts, (parts,).
            prior: draws, (n, dim), in coordinates in which they are of order one.
        """
        wide = wide_part(prior)
        return cls(
            torch.cat([loc, wide.loc]),
            torch.cat([math.sqrt(WIDER) * root, wide.root]),
            torch.cat(
                [
                    torch.log_softmax(log_share, 0) + math.log1p(-PRIOR_SHARE),
                    wide.log_share + math.log(PRIOR_SHARE),
                ]
            ),
        )

    @classmethod
    def of_guide(cls, density: LSEDensity, prior: Tensor) -> Proposal:
        """The parts of a guide's ``density``, each by Laplace's approximation at its minimum."""
        minima, network = mode_minima(density.potential), whitened(density.potential.network)
        root = torch.linalg.solve_triangular(
            network.precision_factor(), scale_tril(minima.hessian), upper=False
        )
        return cls.around(minima.x, root, density.mode_weights.log(), prior)

    def sample(self, n: int) -> tuple[Tensor, Tensor]:
        """``n`` draws (n, dim) and the part of each, (n,); parts have their shares, up to one."""
        part = stratified(self.log_share.exp(), n)[randperm(n)]
        wide = FREEDOM / chi2(FREEDOM, (n, 1), self.loc)
        noise = randn(n, self.loc.shape[1]).to(self.loc) * wide.sqrt()
        return self.loc[part] + (self.root[part] @ noise.unsqueeze(-1)).squeeze(-1), part

    def each(self, x: Tensor) -> Tensor:
        """Log density of each part at ``x`` (n, dim), without its share, (n, parts)."""
        return self._each(self.white(x))

    def log_prob(self, x: Tensor) -> Tensor:
        """log r at ``x`` (n, dim), (n,)."""
        return torch.logsumexp(self.each(x) + self.log_share, 1)

    def white(self, x: Tensor) -> Tensor:
        """T^-1 (x - m) for each part, (parts, n, dim)."""
        return (x - self.loc.unsqueeze(1)) @ self._inverse.mT

    def value_and_gradients(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log densities (n, parts) with their shares, log r (n,) and its gradient (n, dim)."""
        white, dim = self.white(x), x.shape[1]
        each = self._each(white) + self.log_share
        total = torch.logsumexp(each, 1)
        pull = (each - total.unsqueeze(1)).exp().mT  # the responsibility of each part, (parts, n)
        pull = pull * (FREEDOM + dim) / (FREEDOM + white.square().sum(-1))
        return each, total, -((pull.unsqueeze(-1) * white) @ self._inverse).sum(0)

    @cached_property
    def _inverse(self) -> Tensor:
        eye = torch.eye(self.loc.shape[1]).to(self.root).expand_as(self.root)
        return torch.linalg.solve_triangular(self.root, eye, upper=False)

    def _each(self, white: Tensor) -> Tensor:
        """Log densities (n, parts) from white vectors (parts, n, dim)."""
        dim = white.shape[-1]
        constant = math.lgamma((FREEDOM + dim) / 2) - math.lgamma(FREEDOM / 2)
        constant -= 0.5 * dim * math.log(FREEDOM * math.pi)
        tail = 0.5 * (FREEDOM + dim) * torch.log1p(white.square().sum(-1) / FREEDOM)
        return (constant - log_det(self.root).unsqueeze(-1) - tail).mT


def wide_part(prior: Tensor) -> Proposal:
    """One t law as wide as draws (n, dim) from the prior, with all of the mass."""
    center, scale = prior_units(prior)
    root = torch.diag(math.sqrt(PRIOR_WIDER) * scale)
    return Proposal(center.unsqueeze(0), root.unsqueeze(0), prior.new_zeros(1))


def prior_units(prior: Tensor) -> tuple[Tensor, Tensor]:
    """The median and the spread of draws (n, dim) from a prior, (dim,) each.

    The spread is half the range of the middle 68 %, the deviation of a normal law: a prior such as
    Cauchy's has no deviation. It is that of the median where all draws are alike.
    """
    center = prior.median(0).values
    low, high = torch.quantile(prior, prior.new_tensor([0.159, 0.841]), dim=0)
    scale = 0.5 * (high - low)
    return center, torch.where(scale > 0, scale, center.abs().where(center != 0, 1.0))
