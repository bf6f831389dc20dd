r"""The start of a guide's modes: a Gaussian on every peak, and more where peaks are not Gaussian.

Gaussians are added one at a time, as in boosted mixtures (Li & Barron 2000) and incremental mixture
importance sampling (Raftery & Bao 2010). The posterior p is known up to a factor at a pool of draws
x_i from wide laws around the Gaussians so far, and from one as wide as the prior, with importance
weights v_i: a broad part under a narrow peak has no peak of its own. A new Gaussian N is centred at
one of these draws, with the curvature of log p there. It is added to the mixture q with the share a
that maximises

.. math:: \sum_i v_i \log\big((1 - a)\, q(x_i) + a\, N(x_i)\big) \approx E_p \log q + \text{gain}.

Where the mixture still is no good fit, its means and covariances are moved to the weighted draws,
which are drawn anew around them (population Monte Carlo, Cappé et al. 2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lse_vi.guides.peaks import Peaks
from lse_vi.guides.proposal import (
    EM_UPDATES,
    LEAST_SHARE,
    WIDER,
    Prior,
    Proposal,
    finite,
    fitted_shares,
)
from lse_vi.joint.log_joint import LogJoint
from lse_vi.numerics.linear_algebra import log_det, moduli, precision_root, scale_tril
from lse_vi.random.draws import generator

COVERED = 0.999  # of the mass, by Laplace's approximation: the peaks that hold it get a Gaussian
# Gaussians beside those on peaks, at most, where no number of modes is given: more make training
# slow. Of the candidates of a round at most so many are taken: each round costs their Hessians, and
# draws from those taken.
BOOSTS, TOGETHER = 8, 4
# Draws of the pool from around the first Gaussian and from each that is added: chance gains are
# then below 0.008 nats, see below. From around K peaks there are so many times the root of K: with
# more, every peak needs fewer, as their shares are what the pool must tell.
POOL_DRAWS = 1024
FRESH_DRAWS = 512  # draws from around each Gaussian that is added
EVEN = 0.5  # share of the draws that peaks get alike: masses by Laplace's approximation may be off
CANDIDATES = 32  # draws at which a new Gaussian may be centred: each costs a Hessian
WORTH = 0.002  # nats: the least true gain of a new Gaussian, twice the misfit that ends training
# Nats times the effective number of draws: the draws that judge the candidates also chose the best
# of them, which shows a gain of order 1 / draws by chance (the best of 64 about log 64) even with
# no true gain. A new Gaussian must gain more than that.
CHANCE_GAIN = 8.0
# A candidate's precision is the curvature at its draw plus a share of the nearest Gaussian's
# precision. The small share only bounds its width. The large share makes it narrower (0.8 times as
# wide inside a Gaussian), so that several candidates can tile the nearest Gaussian.
WIDE, NARROW = 0.05, 0.56
MOST_SHARE = 0.9  # of the mixture, for a new Gaussian: the others keep some mass
FIRST_SHARE = 0.2  # of a new Gaussian before EM, which moves it from any start
# Rounds of moving Gaussians to the mass, with as many updates of EM in each, unless the mixture is
# as good a fit as this, in nats of KL(p||q): nine in ten of its draws count then.
ROUNDS, MOVES, GOOD_FIT = 6, 5, 0.05
REACH = 4.0  # beyond the typical radius of a Gaussian, sqrt(dim), in its deviations
KNOWN_BEFORE = 2  # draws for each dimension that the covariance so far is worth against new ones
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

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of each Gaussian at ``x`` (n, dim), (n, modes)."""
        root = precision_root(self.precision)
        white = (x - self.loc.unsqueeze(1)) @ root  # (modes, n, dim)
        constant = 0.5 * x.shape[1] * math.log(2 * math.pi)
        return (log_det(root).unsqueeze(-1) - 0.5 * white.square().sum(-1) - constant).mT

    def log_prob_at(self, radius: float) -> Tensor:
        """Log density of each Gaussian so many deviations from its mean, (modes,)."""
        root = precision_root(self.precision)
        dim = self.loc.shape[1]
        return log_det(root) - 0.5 * radius**2 - 0.5 * dim * math.log(2 * math.pi)

    def add(self, other: Placement, share: Tensor) -> Placement:
        """The mixture of both, in which ``other`` has the share ``share``."""
        log_share = torch.cat([self.log_share + torch.log1p(-share), other.log_share + share.log()])
        return Placement(
            torch.cat([self.loc, other.loc]),
            torch.cat([self.precision, other.precision]),
            log_share,
        )

    @property
    def even(self) -> Tensor:
        """Logarithms of equal shares, (modes,)."""
        return torch.full_like(self.log_share, -math.log(len(self.log_share)))

    def select(self, index: Tensor) -> Placement:
        """The Gaussians at ``index``, each with the share 1."""
        return Placement(
            self.loc[index], self.precision[index], torch.zeros_like(index).to(self.loc)
        )


@torch.no_grad()
def place(peaks: Peaks, log_joint: LogJoint, modes: int | None, prior: Prior) -> Placement:
    """Gaussians on the peaks that hold the mass, the heaviest first, and those worth adding.

    Args:
        peaks: heaviest first.
        log_joint: of the model.
        modes: the largest number of Gaussians; None for what the peaks need, and at most eight
            more.
        prior: in coordinates in which its draws are of order one.
    """
    real = peaks.real
    needed = int((torch.softmax(real.log_mass, 0).cumsum(0) < COVERED).sum()) + 1
    chosen = real.select(torch.arange(min(needed, len(real))))
    peaks = chosen if real is peaks else chosen.join(peaks.select(~peaks.proper))
    limit = modes or len(peaks) + BOOSTS
    peaks = peaks.select(torch.arange(min(len(peaks), limit)))
    mass = torch.where(peaks.proper, peaks.log_mass, chosen.log_mass.amax())  # or not known
    placed = Placement(peaks.x, peaks.precision, torch.log_softmax(mass, 0))
    count = len(placed.loc)
    spread = torch.log((1 - EVEN) * placed.log_share.exp() + EVEN / count)
    around = Proposal.around(placed.loc, placed.scale_tril, spread, prior)
    pool = _Pool.draw(around, round(POOL_DRAWS * math.sqrt(count)), log_joint)
    each = placed.log_prob(pool.x)
    while True:
        weights = pool.weights
        placed = replace(placed, log_share=fitted_shares(each, weights, placed.log_share))
        if len(placed.loc) == limit:
            return _adapted(placed, pool, log_joint, prior)
        at = torch.multinomial(weights, CANDIDATES, True, generator=generator(weights.device))
        trial = _candidates(placed, log_joint, pool.x[at], prior)
        there, count = trial.log_prob(pool.x), len(placed.loc)
        # In many dimensions a Gaussian is far denser at its centre than at any other draw: a draw
        # of large weight must not vouch for the candidate that is centred on it.
        others = there.index_put(
            (at.repeat(2), torch.arange(len(trial.loc))), there.new_tensor(-torch.inf)
        )
        for _ in range(min(TOGETHER, limit - count)):
            mixture = torch.logsumexp(each + placed.log_share, 1)
            share, gain = _gains(others, mixture, weights)
            best = gain.argmax().reshape(1)
            # The sum of squares is one over the effective number of draws.
            if gain[best] < WORTH + CHANCE_GAIN * weights.square().sum():
                break
            placed = placed.add(trial.select(best), share[best])
            each = torch.cat([each, there[:, best]], 1)
        fresh = placed.select(torch.arange(count, len(placed.loc)))
        if not len(fresh.loc):
            return _adapted(placed, pool, log_joint, prior)
        law = Proposal(fresh.loc, math.sqrt(WIDER) * fresh.scale_tril, fresh.even)
        more = _Pool.draw(law, FRESH_DRAWS * len(fresh.loc), log_joint)
        each = torch.cat([each, placed.log_prob(more.x)])
        pool = pool.join(more)


@dataclass(frozen=True)
class _Pool:
    """Draws of several laws, at which l is known.

    Attributes:
        laws: with the number of draws of each.
        x: the draws, (n, dim).
        log_joint: l there, in nats, minus infinity where it is not finite, (n,).
        log_prior: log density of the prior there, (n,); NaN where it is not known.
        log_density: log of the laws' densities there, each times its number of draws, (n,).
    """

    laws: tuple[tuple[Proposal, int], ...]
    x: Tensor
    log_joint: Tensor
    log_prior: Tensor
    log_density: Tensor

    @classmethod
    def draw(cls, law: Proposal, n: int, log_joint: LogJoint) -> _Pool:
        """``n`` draws of one law."""
        x, _ = law.sample(n)
        value, log_prior = log_joint.with_prior(x)
        log_density = law.log_prob(x, log_prior) + math.log(n)
        return cls(((law, n),), x, finite(value), log_prior, log_density)

    def join(self, more: _Pool) -> _Pool:
        """The draws of both, as if each were of the mixture of all laws (Owen & Zhou 2000)."""
        log_density = torch.cat([self._beside(more), more._beside(self)])
        return _Pool(
            self.laws + more.laws,
            torch.cat([self.x, more.x]),
            torch.cat([self.log_joint, more.log_joint]),
            torch.cat([self.log_prior, more.log_prior]),
            log_density,
        )

    def _beside(self, more: _Pool) -> Tensor:
        """``log_density`` of the own draws, with the laws of ``more`` too."""
        others = [law.log_prob(self.x, self.log_prior) + math.log(n) for law, n in more.laws]
        return torch.logsumexp(torch.stack([self.log_density, *others]), 0)

    @property
    def weights(self) -> Tensor:
        """Importance weights (n,), sum one, truncated at sqrt(n) times the mean (Ionides 2008)."""
        weights = torch.softmax(self.log_joint - self.log_density, 0)
        weights = weights.clamp_max(len(weights) ** -0.5)
        return weights / weights.sum()

    def misfit(self, placed: Placement) -> float:
        """KL(p||q) in nats, of the posterior p from the mixture q of ``placed``."""
        log_q = torch.logsumexp(placed.log_prob(self.x) + placed.log_share, 1)
        log_w = self.log_joint - self.log_density
        apart = self.log_joint - log_w.logsumexp(0) - log_q
        weights = self.weights
        return float((weights * apart)[weights > 0].sum())


def _adapted(placed: Placement, pool: _Pool, log_joint: LogJoint, prior: Prior) -> Placement:
    """``placed`` with its Gaussians moved to the mass, as long as fresh draws say that it pays."""
    n = len(pool.x)
    for _ in range(ROUNDS):
        if pool.misfit(placed) < GOOD_FIT:
            break
        moved = _moved(placed, pool)
        around = Proposal.around(moved.loc, moved.scale_tril, moved.log_share, prior)
        fresh = _Pool.draw(around, n, log_joint)
        chance = CHANCE_GAIN * float(fresh.weights.square().sum())
        if fresh.misfit(placed) - fresh.misfit(moved) < WORTH + chance:
            break
        placed, pool = moved, pool.join(fresh)
    return placed


def _moved(placed: Placement, pool: _Pool) -> Placement:
    """Means, covariances and shares that fit the weighted draws better, by EM.

    A covariance that few draws tell stays near what it was. Only draws within a Gaussian's reach
    move it: it must not leave its peak, or cover two, where another peak has no Gaussian.
    """
    x, weights, dim = pool.x, pool.weights, pool.x.shape[1]
    for _ in range(MOVES):
        each = placed.log_prob(x)
        own = torch.softmax(each + placed.log_share, 1) * weights.unsqueeze(1)
        mass = own.sum(0)
        own = own * (each > placed.log_prob_at(REACH + math.sqrt(dim)))
        near = own.sum(0)
        count = near.square() / own.square().sum(0).clamp_min(torch.finfo(x.dtype).tiny)
        loc, precision = placed.loc.clone(), placed.precision.clone()
        for k in (count > dim).nonzero().flatten().tolist():
            loc[k] = own[:, k] @ x / near[k]
            off = x - loc[k]
            told = count[k] / (count[k] + KNOWN_BEFORE * dim)
            seen = (own[:, k, None] * off).mT @ off / near[k]
            before = scale_tril(precision[k])
            blend, failed = torch.linalg.cholesky_ex(told * seen + (1 - told) * before @ before.mT)
            new = torch.cholesky_inverse(blend)
            if not (failed or torch.linalg.cholesky_ex(new.flip(0, 1)).info):  # rounding undoes it
                precision[k] = new
        placed = Placement(loc, precision, torch.log_softmax((mass + LEAST_SHARE).log(), 0))
    return placed


def _candidates(placed: Placement, log_joint: LogJoint, x: Tensor, prior: Prior) -> Placement:
    """Two Gaussians at each point of ``x`` (n, dim), with the curvature there: wide and narrow.

    The nearest part bounds their width. Far from all Gaussians that is the part as wide as the
    prior.
    """
    wide = Prior(prior.draws)  # as wide as the prior, with a covariance of its own
    law = Proposal.around(placed.loc, placed.scale_tril, placed.log_share, wide)
    nearest = (law.each(x) + law.log_share).argmax(1)
    hessian = -log_joint.hessian(x)
    fine = hessian.isfinite().all(-1).all(-1)
    around = torch.cholesky_inverse(law.root[nearest])
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
