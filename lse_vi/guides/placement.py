r"""Where a guide's modes start: one on every peak, spare ones where the peaks are not Gaussian.

Gaussians are added one at a time, as in boosted mixtures (Li & Barron 2000) and incremental mixture
importance sampling (Raftery & Bao 2010). The posterior p is known up to its scale at a pool of
draws from the Gaussians so far, with importance weights v; a new Gaussian N sits at one of these
draws, shaped by the curvature there, and takes the share a of the mixture q that does most for

.. math:: \sum_i v_i \log\big((1 - a)\, q(x_i) + a\, N(x_i)\big) \approx E_p \log q + \text{gain}.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lse_vi.guides.log_joint import LogJoint
from lse_vi.guides.peak_search import Peaks
from lse_vi.numerics.linear_algebra import log_det, moduli, scale_tril

POOL_DRAWS = 1024  # draws of each Gaussian
CANDIDATES = 32  # draws at which a new one may sit
WORTH = 0.002  # nats that a new one must gain
CHANCE = 8.0  # over the number of draws: nats gained where there is nothing to gain
# Shares of the nearest Gaussian's precision, added to that at a draw: as it is, but never flat; and
# narrower, as kernels that tile the nearest one are.
WIDE, NARROW = 0.05, 0.56
UPDATES = 20  # of shares, by EM


@dataclass(frozen=True)
class Placement:
    """Gaussians that start the modes, as a mixture.

    Attributes:
        loc: means, (modes, dim).
        precision: inverse covariances, (modes, dim, dim).
        log_share: log of their shares of the mass, (modes,).
    """

    loc: Tensor
    precision: Tensor
    log_share: Tensor

    @property
    def scale_tril(self) -> Tensor:
        """T, lower triangular, with T T^T the covariance: (modes, dim, dim)."""
        return scale_tril(self.precision)

    def draw(self, n: int) -> Tensor:
        """``n`` points of each Gaussian, (modes n, dim)."""
        noise = torch.randn(len(self.loc), n, self.loc.shape[1]).to(self.loc)
        return (self.loc.unsqueeze(1) + noise @ self.scale_tril.mT).flatten(0, 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of each Gaussian at ``x`` (n, dim), (n, modes)."""
        root = torch.linalg.cholesky(self.precision)  # R R^T
        white = (x - self.loc.unsqueeze(1)) @ root  # (modes, n, dim)
        constant = 0.5 * x.shape[1] * math.log(2 * math.pi)
        return (log_det(root).unsqueeze(-1) - 0.5 * white.square().sum(-1) - constant).mT

    def add(self, other: Placement, share: Tensor) -> Placement:
        """Both, ``other`` with the given share."""
        log_share = torch.cat([self.log_share + torch.log1p(-share), other.log_share + share.log()])
        return Placement(
            torch.cat([self.loc, other.loc]),
            torch.cat([self.precision, other.precision]),
            log_share,
        )

    def select(self, index: Tensor) -> Placement:
        """Those at ``index``, each with the whole mass."""
        return Placement(
            self.loc[index], self.precision[index], torch.zeros_like(index).to(self.loc)
        )


@torch.no_grad()
def place(peaks: Peaks, log_joint: LogJoint, modes: int) -> Placement:
    """At most ``modes`` Gaussians: Laplace's at the heaviest peaks, then others worth adding."""
    peaks = peaks.select(torch.arange(min(len(peaks), modes)))
    placed = Placement(peaks.x, peaks.precision, torch.log_softmax(peaks.log_mass, 0))
    x = placed.draw(POOL_DRAWS)
    value = _finite(log_joint(x))
    while True:
        each = placed.log_prob(x)
        weights = _weights(value - torch.logsumexp(each, 1))
        placed = replace(placed, log_share=_shares(each, weights, placed.log_share))
        if len(placed.loc) == modes:
            return placed
        mixture = torch.logsumexp(each + placed.log_share, 1)
        trial = _candidates(placed, log_joint, x[torch.multinomial(weights, CANDIDATES, True)])
        share, gain = _gains(trial.log_prob(x), mixture, weights)
        best = gain.argmax().reshape(1)
        # The points that judge a candidate also chose it, and grant a gain of order 1/n by chance.
        if gain[best] < WORTH + CHANCE / len(x):
            return placed
        fresh = trial.select(best)
        placed = placed.add(fresh, share[best])
        x_new = fresh.draw(POOL_DRAWS)
        x, value = torch.cat([x, x_new]), torch.cat([value, _finite(log_joint(x_new))])


def _finite(value: Tensor) -> Tensor:
    return value.nan_to_num(-torch.inf, posinf=-torch.inf)


def _weights(log_ratio: Tensor) -> Tensor:
    """Importance weights, truncated at sqrt(n) times their mean (Ionides 2008): (n,), sum one."""
    weights = torch.softmax(log_ratio, 0)
    weights = weights.clamp_max(len(weights) ** -0.5)
    return weights / weights.sum()


def _shares(each: Tensor, weights: Tensor, log_share: Tensor) -> Tensor:
    """Shares that fit the weighted points best, by EM, (modes,); none of them zero."""
    for _ in range(UPDATES):
        own = torch.softmax(each + log_share, 1)
        log_share = torch.log(weights @ own + 1e-6)
    return torch.log_softmax(log_share, 0)


def _candidates(placed: Placement, log_joint: LogJoint, x: Tensor) -> Placement:
    """Gaussians at ``x``, of the curvature there; and the same made narrower."""
    nearest = placed.log_prob(x).add(placed.log_share).argmax(1)
    hessian = -log_joint.hessian(x)
    fine = hessian.isfinite().all(-1).all(-1)
    around = placed.precision[nearest]
    local = moduli(torch.where(fine[:, None, None], hessian, around))
    precision = torch.cat([local + WIDE * around, local + NARROW * around])
    return Placement(torch.cat([x, x]), precision, torch.zeros(2 * len(x)).to(x))


def _gains(each: Tensor, mixture: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The best share of each candidate, by EM, and what it gains, both (candidates,)."""
    share = torch.full_like(each[0], 0.2)
    ratio = (each - mixture.unsqueeze(1)).clamp_max(50.0).exp()
    for _ in range(UPDATES):
        share = weights @ (share * ratio / (1 - share + share * ratio))
    share = share.clamp(1e-6, 0.9)
    return share, weights @ torch.log1p(share * (ratio - 1))
