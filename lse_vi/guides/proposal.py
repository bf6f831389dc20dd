r"""A mixture of Student's t laws that covers a posterior: the start of its importance samples.

.. math:: r(x) = (1 - a) \sum_k w_k \, t_6(x; m_k, 1.3\, S_k) + a \, \pi(x)

The parts have the centres m_k, covariances S_k and masses w_k of a guide's modes. The last part is
the prior: weights under r show mass that lies outside the guide, which the guide's own draws cannot
(Hesterberg 1995, defensive mixtures), and none exceeds the largest likelihood over a. The neck of a
funnel, which no Gaussian covers, is where the prior draws too. Where the prior has no known density
(improper, scaled or masked), a law as wide as its draws stands for it,
:math:`t_6(x; m, 1.44\, C)` with their median m and spread C.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import pyro
import torch
from torch import Tensor

from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.modes import mode_minima
from lse_vi.fitting.random_state import seeded
from lse_vi.joint.log_joint import LogJoint
from lse_vi.joint.torch_modes import FailedFactorsAreNaN
from lse_vi.network.icnn import whitened
from lse_vi.numerics.linear_algebra import log_det, scale_tril
from lse_vi.numerics.tempering import stratified
from lse_vi.random.draws import chi2, randn, randperm
from lse_vi.random.turns import own_draws, taking_turns

FREEDOM = 6.0  # of t: its tails are heavier than those of most posteriors, yet few draws are far
WIDER = 1.3  # times the covariance of a mode
PRIOR_SHARE, PRIOR_WIDER = 0.1, 1.44  # of the part as wide as the prior; times its covariance
MOST_PRIOR = 0.5  # its share at most: more where the data say nothing would leave the modes bare
EM_UPDATES = 20  # of the shares of a mixture: they change little afterwards
LEAST_SHARE = 1e-6  # of a mixture, for any part: keeps logarithms finite
# Draws at which a run in a plate is compared with single runs. A vector of as many entries as the
# plate broadcasts along the wrong axis without an error, so two numbers are tried.
TRIALS = (5, 7)
SAME = 1e-3  # nats, absolute and relative: of log densities, in single precision too
MOST_TRIES = 20  # times the draws asked for: of those, some are not finite


@dataclass(frozen=True)
class Prior:
    """What is known of a prior, in the coordinates of a log joint.

    Attributes:
        draws: (n, dim); of a prior that cannot be sampled, points where the mass may lie.
        law: its density and further draws, where these are known.
    """

    draws: Tensor
    law: PriorLaw | None = None

    @classmethod
    @torch.no_grad()
    def of(cls, log_joint: LogJoint, draws: Tensor) -> Prior:
        """The prior behind ``log_joint`` with ``draws`` (n, dim) from it, in its coordinates."""
        known = bool(log_joint.with_prior(draws)[1].isfinite().all())
        return cls(draws, PriorLaw(log_joint) if known else None)


class PriorLaw:
    """A prior that can be sampled and whose log density is known, normalised.

    Args:
        log_joint: of the model.

    Example:
        >>> import pyro.distributions as dist
        >>> from lse_vi import AutoLSEICNN
        >>> def model():
        ...     pyro.sample("x", dist.Normal(5.0, 2.0))
        >>> law = PriorLaw(AutoLSEICNN(model).in_units()[0])
        >>> law.sample(3).shape
        torch.Size([3, 1])
    """

    def __init__(self, log_joint: LogJoint) -> None:
        self.log_joint = log_joint
        self._in_plate: bool | None = None

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """``n`` draws (n, dim), all finite.

        Raises:
            ValueError: if hardly any draw is finite in unconstrained coordinates.
        """
        parts, count, tries = [], 0, 0
        while count < n:
            if tries > MOST_TRIES * n:
                raise ValueError(
                    f"model: only {count} of {tries} draws from the prior are finite in "
                    "unconstrained coordinates; check the scales of the priors"
                )
            x = self._drawn(n - count)
            tries += len(x)
            parts.append(x[x.isfinite().all(-1)])
            count += len(parts[-1])
        return torch.cat(parts)

    def log_prob(self, u: Tensor) -> Tensor:
        """Log density (n,) at ``u`` (n, dim)."""
        return self.log_joint.with_prior(u)[1]

    def _drawn(self, n: int) -> Tensor:
        """``n`` draws (n, dim), by one run in a plate if that gives what single runs give."""
        program = self.log_joint.program
        if self._in_plate is None:
            # By draws of its own: those of a fit are the same whether or not it was asked before.
            with taking_turns(), seeded(0), self._drawing():
                self._in_plate = self._agree()
        with self._drawing():
            if self._in_plate:
                z = program.drawn(n)[0]
            else:
                z = torch.stack([program.drawn_alone() for _ in range(n)])
        return (z - self.log_joint.shift) / self.log_joint.scale

    @staticmethod
    @contextmanager
    def _drawing() -> Iterator[None]:
        """Within, the model draws."""
        quiet, nan = pyro.validation_enabled(False), FailedFactorsAreNaN()
        with taking_turns(), own_draws(), quiet, nan:
            yield

    def _agree(self) -> bool:
        """Whether a run in an outermost plate draws from the prior as single runs do."""
        program = self.log_joint.program
        try:
            drawn = [program.drawn(n) for n in TRIALS]
            log_prior = torch.cat([each for _, each in drawn])
            alone = torch.stack([program.at(row)[1] for z, _ in drawn for row in z])
        except (RuntimeError, ValueError, IndexError, TypeError):
            return False
        return bool(torch.isclose(log_prior.to(alone), alone, rtol=SAME, atol=SAME).all())


@dataclass(frozen=True)
class Proposal:
    """A mixture of t laws, the last of which a prior may replace.

    Attributes:
        loc: centres, (parts, dim).
        root: T with the scale matrix T T^T, lower triangular, (parts, dim, dim).
        log_share: logarithms of the shares, (parts,).
        prior: the law of the last part, if it is not t; then that part's centre and root say only
            where the prior is and how wide.

    Example:
        >>> law = Proposal(torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3), torch.zeros(2) - 0.693)
        >>> x, part = law.sample(4)
        >>> x.shape, law.log_prob(x).shape
        (torch.Size([4, 3]), torch.Size([4]))
    """

    loc: Tensor
    root: Tensor
    log_share: Tensor
    prior: PriorLaw | None = None

    @classmethod
    def around(cls, loc: Tensor, root: Tensor, log_share: Tensor, prior: Prior) -> Proposal:
        """The parts of a guide, and the prior.

        Args:
            loc, root: centres and Cholesky factors of the covariances, (parts, dim, ...).
            log_share: log masses of the parts, (parts,).
            prior: in coordinates in which its draws are of order one.
        """
        wide = wide_part(prior.draws)
        return cls(
            torch.cat([loc, wide.loc]),
            torch.cat([math.sqrt(WIDER) * root, wide.root]),
            torch.cat(
                [
                    torch.log_softmax(log_share, 0) + math.log1p(-PRIOR_SHARE),
                    wide.log_share + math.log(PRIOR_SHARE),
                ]
            ),
            prior.law,
        )

    @classmethod
    def of_guide(cls, density: LSEDensity, prior: Prior) -> Proposal:
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
        x = self.loc[part] + (self.root[part] @ noise.unsqueeze(-1)).squeeze(-1)
        of_prior = part == len(self.loc) - 1
        if self.prior is not None and bool(of_prior.any()):
            x[of_prior] = self.prior.sample(int(of_prior.sum())).to(x)
        return x, part

    def each(self, x: Tensor, log_prior: Tensor | None = None) -> Tensor:
        """Log density of each part at ``x`` (n, dim), without its share, (n, parts).

        ``log_prior`` (n,), where it is known already, saves a run of the model.
        """
        return self._each(self.white(x), self._log_prior(x, log_prior))

    def log_prob(self, x: Tensor, log_prior: Tensor | None = None) -> Tensor:
        """log r at ``x`` (n, dim), (n,); ``log_prior`` as in :meth:`each`."""
        return torch.logsumexp(self.each(x, log_prior) + self.log_share, 1)

    def weighed(self, x: Tensor, log_joint: Tensor, log_prior: Tensor) -> Proposal:
        """The same parts, with the share of the last that draws of r and their weights ask for.

        Args:
            x: draws of r, (n, dim).
            log_joint, log_prior: at the draws, (n,).
        """
        if not bool(log_joint.isfinite().any()):  # no draw has any density: nothing is told
            return self
        each = self.each(x, log_prior)
        weights = torch.softmax(finite(log_joint) - (each + self.log_share).logsumexp(1), 0)
        others = torch.log_softmax(self.log_share[:-1], 0)
        two = torch.stack([(each[:, :-1] + others).logsumexp(1), each[:, -1]], 1)
        start = torch.stack([torch.log1p(-self.log_share[-1].exp()), self.log_share[-1]])
        share = fitted_shares(two, weights, start)[1].exp().clamp(PRIOR_SHARE, MOST_PRIOR)
        log_share = torch.cat([others + torch.log1p(-share), share.log().reshape(1)])
        return replace(self, log_share=log_share)

    def white(self, x: Tensor) -> Tensor:
        """T^-1 (x - m) for each part, (parts, n, dim)."""
        return (x - self.loc.unsqueeze(1)) @ self._inverse.mT

    def value_and_gradients(
        self, x: Tensor, log_prior: Tensor | None = None, prior_slope: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log densities (n, parts) with their shares, log r (n,) and its gradient (n, dim).

        Args:
            x: points, (n, dim).
            log_prior, prior_slope: the log density of the prior there, (n,), and its gradient,
                (n, dim), if the prior is a part.
        """
        white, dim = self.white(x), x.shape[1]
        each = self._each(white, log_prior) + self.log_share
        total = torch.logsumexp(each, 1)
        own = (each - total.unsqueeze(1)).exp().mT  # the responsibility of each part, (parts, n)
        pull = own * (FREEDOM + dim) / (FREEDOM + white.square().sum(-1))
        if prior_slope is None:
            return each, total, -((pull.unsqueeze(-1) * white) @ self._inverse).sum(0)
        of_t = ((pull.unsqueeze(-1) * white) @ self._inverse)[:-1].sum(0)
        return each, total, own[-1].unsqueeze(1) * prior_slope - of_t

    def _log_prior(self, x: Tensor, log_prior: Tensor | None) -> Tensor | None:
        """The log density of the last part at ``x``, if that is the prior."""
        if self.prior is None:
            return None
        return self.prior.log_prob(x) if log_prior is None else log_prior

    @cached_property
    def _inverse(self) -> Tensor:
        eye = torch.eye(self.loc.shape[1]).to(self.root).expand_as(self.root)
        return torch.linalg.solve_triangular(self.root, eye, upper=False)

    def _each(self, white: Tensor, log_prior: Tensor | None) -> Tensor:
        """Log densities (n, parts) from white vectors (parts, n, dim) and that of the prior."""
        dim = white.shape[-1]
        constant = math.lgamma((FREEDOM + dim) / 2) - math.lgamma(FREEDOM / 2)
        constant -= 0.5 * dim * math.log(FREEDOM * math.pi)
        tail = 0.5 * (FREEDOM + dim) * torch.log1p(white.square().sum(-1) / FREEDOM)
        each = (constant - log_det(self.root).unsqueeze(-1) - tail).mT
        if self.prior is None or log_prior is None:
            return each
        # Far out, where a scale underflows, it is NaN: no draw of the prior lies there.
        log_prior = log_prior.nan_to_num(-torch.inf, neginf=-torch.inf)
        return torch.cat([each[:, :-1], log_prior.unsqueeze(1)], 1)


def finite(value: Tensor) -> Tensor:
    """``value``, with minus infinity (no density) for NaN and plus infinity.

    Minus infinity itself becomes the least finite number.
    """
    return value.nan_to_num(-torch.inf, posinf=-torch.inf)


def fitted_shares(each: Tensor, weights: Tensor, log_share: Tensor) -> Tensor:
    """Log shares with which a mixture fits weighted points best, by EM: (parts,), all finite.

    Args:
        each: log density of each part at the points, (n, parts).
        weights: of the points, (n,), sum one.
        log_share: to start from, (parts,).
    """
    for _ in range(EM_UPDATES):
        own = torch.softmax(each + log_share, 1)
        log_share = torch.log(weights @ own + LEAST_SHARE)
    return torch.log_softmax(log_share, 0)


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
