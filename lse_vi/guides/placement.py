r"""The start of a guide's modes: a Gaussian on every peak, and more where peaks are not Gaussian.

Gaussians are added one at a time, as in boosted mixtures (Li & Barron 2000) and incremental mixture
importance sampling (Raftery & Bao 2010). The posterior p is known up to a factor at a pool of draws
x_i from the Gaussians so far, with importance weights v_i. A new Gaussian N is centred at one of
these draws, with the curvature of log p there. It is added to the mixture q with the share a that
maximises

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

POOL_DRAWS = 1024  # draws from each Gaussian: chance gains are then below 0.008 nats, see below
CANDIDATES = 32  # draws at which a new Gaussian may be centred: each costs a Hessian
WORTH = 0.002  # nats: the least true gain of a new Gaussian, twice the misfit that ends training
# Nats times the number of draws: the draws that judge the candidates also chose the best of them,
# which shows a gain of order 1 / draws by chance (the best of 64 about log 64) even with no true
# gain. A new Gaussian must gain more than that.
CHANCE_GAIN = 8.0
# A candidate's precision is the curvature at its draw plus a share of the nearest Gaussian's
# precision. The small share only bounds its width. The large share makes it narrower (0.8 times as
# wide inside a Gaussian), so that several candidates can tile the nearest Gaussian.
WIDE, NARROW = 0.05, 0.56
EM_UPDATES = 20  # of the shares of the mixture: gains and shares change little afterwards
LEAST_SHARE = 1e-6  # of the mixture, for any Gaussian: keeps logarithms finite
MOST_SHARE = 0.9  # of the mixture, for a new Gaussian: the others keep some mass
FIRST_SHARE = 0.2  # of a new Gaussian before EM, which moves it from any start
MOST_LOG_RATIO = 50.0  # of a new Gaussian's density to the mixture's: e^50 cannot overflow


@dataclass(frozen=True)
class Placement:
    """A mixture of Gaussians on which the modes of a guide start.

    Attributes:
        loc: means, (modes, dim).
        precision: inverse covariances, (modes, dim, dim).
        log_share: logarithms of their shares of the mass, (modes,).
    """

    loc: Tensor
    precision: Tensor
    log_share: Tensor

    @property
    def scale_tril(self) -> Tensor:
        """T, lower triangular, with T T^T the covariance: (modes, dim, dim)."""
        return scale_tril(self.precision)

    def draw(self, n: int) -> Tensor:
        """``n`` draws from each Gaussian, (modes n, dim)."""
        noise = torch.randn(len(self.loc), n, self.loc.shape[1]).to(self.loc)
        return (self.loc.unsqueeze(1) + noise @ self.scale_tril.mT).flatten(0, 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of each Gaussian at ``x`` (n, dim), (n, modes)."""
        root = torch.linalg.cholesky(self.precision)  # R R^T
        white = (x - self.loc.unsqueeze(1)) @ root  # (modes, n, dim)
        constant = 0.5 * x.shape[1] * math.log(2 * math.pi)
        return (log_det(root).unsqueeze(-1) - 0.5 * white.square().sum(-1) - constant).mT

    def add(self, other: Placement, share: Tensor) -> Placement:
        """The mixture of both, in which ``other`` has the share ``share``."""
        log_share = torch.cat([self.log_share + torch.log1p(-share), other.log_share + share.log()])
        return Placement(
            torch.cat([self.loc, other.loc]),
            torch.cat([self.precision, other.precision]),
            log_share,
        )

    def select(self, index: Tensor) -> Placement:
        """The Gaussians at ``index``, each with the share 1."""
        return Placement(
            self.loc[index], self.precision[index], torch.zeros_like(index).to(self.loc)
        )


@torch.no_grad()
def place(peaks: Peaks, log_joint: LogJoint, modes: int) -> Placement:
    """At most ``modes`` Gaussians: one on each of the heaviest peaks, and those worth adding.

    Args:
        peaks: heaviest first.
        log_joint: of the model.
        modes: the largest number of Gaussians.
    """
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
        if gain[best] < WORTH + CHANCE_GAIN / len(x):
            return placed
        fresh = trial.select(best)
        placed = placed.add(fresh, share[best])
        x_new = fresh.draw(POOL_DRAWS)
        x, value = torch.cat([x, x_new]), torch.cat([value, _finite(log_joint(x_new))])


def _finite(value: Tensor) -> Tensor:
    """``value``, with minus infinity (no density) for NaN and plus infinity."""
    return value.nan_to_num(-torch.inf, posinf=-torch.inf)


def _weights(log_ratio: Tensor) -> Tensor:
    """Importance weights (n,), sum one, truncated at sqrt(n) times their mean (Ionides 2008)."""
    weights = torch.softmax(log_ratio, 0)
    weights = weights.clamp_max(len(weights) ** -0.5)
    return weights / weights.sum()


def _shares(each: Tensor, weights: Tensor, log_share: Tensor) -> Tensor:
    """Log shares that fit the weighted points best, by EM: (modes,), all finite."""
    for _ in range(EM_UPDATES):
        own = torch.softmax(each + log_share, 1)
        log_share = torch.log(weights @ own + LEAST_SHARE)
    return torch.log_softmax(log_share, 0)


def _candidates(placed: Placement, log_joint: LogJoint, x: Tensor) -> Placement:
    """Two Gaussians at each point of ``x`` (n, dim), with the curvature there: wide and narrow."""
    nearest = placed.log_prob(x).add(placed.log_share).argmax(1)
    hessian = -log_joint.hessian(x)
    fine = hessian.isfinite().all(-1).all(-1)
    around = placed.precision[nearest]
    local = moduli(torch.where(fine[:, None, None], hessian, around))
    precision = torch.cat([local + WIDE * around, local + NARROW * around])
    return Placement(torch.cat([x, x]), precision, torch.zeros(2 * len(x)).to(x))


def _gains(each: Tensor, mixture: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The best share of each candidate, by EM, and its gain in nats, both (candidates,)."""
    share = torch.full_like(each[0], FIRST_SHARE)
    ratio = (each - mixture.unsqueeze(1)).clamp_max(MOST_LOG_RATIO).exp()
    for _ in range(EM_UPDATES):
        share = weights @ (share * ratio / (1 - share + share * ratio))
    share = share.clamp(LEAST_SHARE, MOST_SHARE)
    return share, weights @ torch.log1p(share * (ratio - 1))
