"""log Z by importance samples, in any dimension.

The proposals are Gaussians, or the exact upper bound of :mod:`lse_vi.distribution.bounds`. A share
of the draws always comes from that bound: the weights are then bounded, and the error that is
estimated from them can be trusted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.checks import check_count, check_fraction, check_positive
from lse_vi.distribution.bounds import GaussianBound, upper_bound
from lse_vi.distribution.box import Box
from lse_vi.distribution.modes import log_weights
from lse_vi.distribution.rule import Rule
from lse_vi.network.icnn import WhitenedICNN
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.linear_algebra import log_det
from lse_vi.random.draws import categorical, randint, randn_like
from lse_vi.signatures.checked import checked

# Draws of a pilot, from which moments are estimated (half the default of the rule, so that pilots
# cost about as much as the rule), and the largest number of pilots.
PILOT, ROUNDS = 4096, 4
PILOT_DEFENSIVE = 0.5  # share of the envelope in the first pilot: Laplace's mixture may be far off
# Effective draws that estimate moments well enough, and the factor of their growth from which on
# another pilot is worth its cost.
ENOUGH, GROWTH = 100, 1.5
UNIFORM = 0.1  # share of draws all over a closed box: one smaller than the modes gets others rarely
FEW = 16  # effective draws, below which an error of log Z is not known either
SPARE_SHARE = 0.01  # mass that is spread over the modes, so that one the pilot missed gets draws


@checked
@dataclass(frozen=True)
class Envelope:
    """Importance samples from the exact upper bound, whose weights are bounded.

    Use it where the error of log Z must be trustworthy whatever the potential. Each weight
    exp(-E) / bound is an acceptance probability, in (0, 1]; the mean weight is an unbiased estimate
    of Z / (mass of the bound), of finite variance.

    Args:
        samples: number of draws.

    Raises:
        ValueError: for fewer than two samples; when used where there is no bound, which is for
            plain modes without a box or in more than two dimensions.

    Example:
        >>> from lse_vi import LSEDensity
        >>> pot = LSEICNN(3, 2, rho=1.0, network=WhitenedICNN)
        >>> LSEDensity(pot, method=Envelope(samples=1000)).log_normalizer_error.shape
        torch.Size([])
    """

    samples: int = 8192

    def __post_init__(self) -> None:
        check_count("samples", self.samples, 2)

    @torch.no_grad()
    @checked
    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """Weighted points for exp(-E), with the error of log Z."""
        bound = upper_bound(pot, box)
        x, log_accept = bound.propose(self.samples)
        rule = _Draws(x, pot(x), bound.log_mass + log_accept).checked().rule()
        # A mode that no draw met is not in the estimated error. One over the expected number of
        # accepted draws allows for it.
        unseen = (-torch.logsumexp(log_accept, dim=0)).exp()
        return Rule(rule.points, rule.log_weights, torch.hypot(rule.error, unseen))


@dataclass(frozen=True)
class _Mixture:
    """Base of the two mixtures: a Gaussian for each mode, and a share from the exact envelope."""

    samples: int = 8192
    defensive: float = 0.1
    sobol: bool = False

    def __post_init__(self) -> None:
        check_count("samples", self.samples, 2)
        check_positive("defensive", check_fraction("defensive", self.defensive))

    @torch.no_grad()
    @checked
    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """Weighted points for exp(-E), with the error of log Z."""
        if not isinstance(pot.network, WhitenedICNN):
            raise ValueError(
                f"{type(self).__name__} is for WhitenedICNN modes, which have minima to expand "
                "about; use Quadrature() or Envelope()"
            )
        proposal = self._proposal(GaussianBound(pot), box)
        return proposal.draw(pot, box, self.samples, sobol=self.sobol, least=FEW).rule()

    def _proposal(self, bound: GaussianBound, box: Box | None) -> _Proposal:
        """The mixture that the draws come from."""
        raise NotImplementedError


@checked
@dataclass(frozen=True)
class LaplaceMixture(_Mixture):
    r"""Importance samples from the Laplace mixture, with a share from the exact envelope.

    Use it where the modes are nearly normal: the weights are then nearly equal, and no pilot draws
    are needed. The proposal is sum_k pi_k N(x_k*, H_k^-1), with x_k* the minimum of a mode and H_k
    its Hessian there, mixed with the Gaussian envelope, which bounds the weights (Hesterberg 1995,
    defensive mixtures). For modes with steep walls, whose minimum may sit in a corner,
    :class:`MomentMixture` is better.

    Args:
        samples: number of draws.
        defensive: share of the draws that comes from the envelope, in (0, 1).
        sobol: use scrambled Sobol points in place of independent draws. In a few dimensions their
            error is several times smaller; the reported error does not show this, it is too large.

    Raises:
        TypeError: for samples that are no integer, or a share that is no number.
        ValueError: for fewer than two samples, or a share outside (0, 1); when used with plain
            modes, or on a box that no draw falls into.

    Example:
        >>> pot = LSEICNN(3, 2, rho=1.0, network=WhitenedICNN)
        >>> LaplaceMixture(samples=1000).rule(pot, None).points.shape
        torch.Size([1000, 3])
    """

    defensive: float = 0.2

    def _proposal(self, bound: GaussianBound, box: Box | None) -> _Proposal:
        return _laplace(bound, self.defensive)


@checked
@dataclass(frozen=True)
class MomentMixture(_Mixture):
    r"""Importance samples from Gaussians with the mass, mean and covariance of each mode.

    Use it in three or more dimensions, where it is the default. The proposal is
    sum_k pi_k N(E_k[x], Cov_k[x]), with moments under q_k: of all Gaussians, these minimise
    KL(q_k || N). As in :class:`LaplaceMixture`, a share of the draws comes from the Gaussian
    envelope. The moments are first estimated from a Laplace mixture, then from draws of their own
    mixture until the effective number of draws stops growing (adaptive importance sampling,
    Oh & Berger 1992). With steep walls in four dimensions the effective draws are often two in
    five, where they are one in seventy with the Laplace mixture; with walls on all sides of a mode
    they are fewer, and the reported error of log Z says so.

    Args:
        samples, defensive, sobol: as for :class:`LaplaceMixture`.

    Raises:
        TypeError, ValueError: as :class:`LaplaceMixture`.

    Example:
        >>> pot = LSEICNN(3, 2, rho=1.0, network=WhitenedICNN)
        >>> MomentMixture(samples=1000).rule(pot, None).points.shape
        torch.Size([1000, 3])
    """

    def _proposal(self, bound: GaussianBound, box: Box | None) -> _Proposal:
        proposal, used = _laplace(bound, PILOT_DEFENSIVE), torch.zeros_like(bound.pot.log_rho)
        for _ in range(ROUNDS):
            pilot = proposal.draw(bound.pot, box, PILOT, sobol=self.sobol)
            proposal = _moments(bound, pilot, self.defensive)
            before, used = used, 1 / pilot.probabilities.square().sum(0)  # effective draws
            # They suffice, and have stopped growing or are most of the pilot.
            if bool(((used > ENOUGH) & ((used < GROWTH * before) | (used > PILOT / 2))).all()):
                break
        return proposal


class _Draws(NamedTuple):
    """Draws (n, *batch, dim) with their energies, and log(exp(-E) / proposal), (n, *batch)."""

    x: Tensor
    energy: Tensor
    log_ratio: Tensor

    @property
    def probabilities(self) -> Tensor:
        """The weight of each draw under q, (n, *batch)."""
        return torch.softmax(self.log_ratio, dim=0)

    def checked(self, of_modes: bool | Tensor = True, least: float = 0.0) -> _Draws:
        """These draws, or a ValueError if none ``of_modes`` is inside, and ``least`` are not."""
        met = (self.log_ratio > -torch.inf) & of_modes
        enough = 1 / self.probabilities.square().sum(0) > least  # false for NaN: no draw is inside
        if bool((~met.any(0) & ~enough).any()):
            raise ValueError(
                f"bounds: none of {len(self.x)} draws from the modes fell inside; the modes lie "
                "too far outside. Use method=Envelope()"
            )
        return self

    def rule(self) -> Rule:
        """The draws as a rule for exp(-E)."""
        n, top = len(self.x), self.log_ratio.amax(0)
        ratio = (self.log_ratio - top).exp()
        # delta method: sd(log mean) = sd / (mean sqrt n)
        error = ratio.std(0) / ratio.mean(0) / math.sqrt(n)
        return Rule(self.x, self.log_ratio + self.energy - math.log(n), error)


class _Proposal(NamedTuple):
    """A mixture of Gaussians of precision R R^T: x = loc + R^-T z with z white.

    All are (*batch, parts, ...). The parts are one Gaussian for each mode, then the envelope's. On
    a closed box the uniform law is one more.
    """

    log_share: Tensor
    loc: Tensor
    root: Tensor  # R
    log_det: Tensor  # log |det R|

    def draw(
        self, pot: LSEICNN, box: Box | None, n: int, *, sobol: bool, least: float = 0.0
    ) -> _Draws:
        """``n`` draws; those outside the ``box`` have weight zero.

        If none of the modes' own is inside, at least so many effective draws must be.
        """
        log_share = self.log_share
        closed = box if box is not None and box.finite else None
        if closed is not None:
            even = torch.full_like(log_share[..., :1], math.log(UNIFORM))
            log_share = torch.cat([log_share + math.log1p(-UNIFORM), even], -1)
        component, z = (_sobol_draws if sobol else _draws)(n, log_share, pot.dim)
        each = self.loc + _times(torch.linalg.inv(self.root).mT, z.unsqueeze(-2))
        if closed is not None:
            u = closed.low + closed.width * torch.special.ndtr(z)
            each = torch.cat([each, u.unsqueeze(-2)], -2)
        x = torch.take_along_dim(each, component[..., None, None], dim=-2).squeeze(-2)

        white = _times(self.root.mT, x.unsqueeze(-2) - self.loc)
        log_parts = self.log_det - 0.5 * white.square().sum(-1)
        log_parts = log_parts - 0.5 * pot.dim * math.log(2 * math.pi)
        if closed is not None:  # outside, where this is wrong, the weight is zero
            log_uniform = (-closed.log_volume).expand_as(log_parts[..., :1])
            log_parts = torch.cat([log_parts, log_uniform], -1)
        log_proposal = torch.logsumexp(log_share + log_parts, dim=-1)
        energy = pot(x)
        log_ratio = -energy - log_proposal
        if box is not None:
            log_ratio = log_ratio.masked_fill(~box.contains(x), -torch.inf)
        return _Draws(x, energy, log_ratio).checked(component < self.log_share.shape[-1], least)


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Matrices (*batch, parts, dim, dim) times vectors (n, *batch, parts, dim).

    One product takes all n: a product for each vector would copy the matrices n times.
    """
    return (matrices @ vectors.movedim(0, -1)).movedim(-1, 0)


def _laplace(bound: GaussianBound, defensive: float) -> _Proposal:
    """Laplace's approximation of each mode, at its minimum."""
    # In the frame no eigenvalue of the Hessian is below one: float32 has its Cholesky factor too.
    curved = torch.linalg.cholesky(bound.minima.hessian)
    log_mass = log_weights(bound.pot) - bound.minima.f - log_det(curved) - log_det(bound.factor)
    return _defended(bound, log_mass, bound.minima.x, curved, log_det(curved), defensive)


def _moments(bound: GaussianBound, pilot: _Draws, defensive: float) -> _Proposal:
    """The moments of each mode, estimated from draws in the frame of that mode.

    With few effective draws they are shrunk towards Laplace's approximation. By the theorem of
    Brascamp & Lieb (1976) no variance exceeds one in the frame.
    """
    pot, x = bound.pot, pilot.x
    share = pilot.probabilities.unsqueeze(-1) * pot.responsibilities(x)  # (n, *batch, modes)
    mass = share.sum(0)
    share = share / mass.clamp_min(torch.finfo(mass.dtype).tiny)
    drawn = 1 / share.square().sum(0).clamp_min(torch.finfo(mass.dtype).tiny)
    # The weight of the estimate is n / (n + dim + 1) for n effective draws: dim + 1 of them are
    # what a covariance of full rank needs.
    trust = (drawn / (drawn + pot.dim + 1))[..., None].where(mass[..., None] > 0, 0.0)

    u = _times(bound.factor, x.unsqueeze(-2) - bound.minima.x)
    mean = (share.unsqueeze(-1) * u).sum(0)
    spread = (share.sqrt().unsqueeze(-1) * (u - mean)).movedim(0, -2)  # (*batch, modes, n, dim)
    trusted = trust.unsqueeze(-1)
    laplace = torch.cholesky_inverse(torch.linalg.cholesky(bound.minima.hessian))
    covariance = trusted * (spread.mT @ spread) + (1 - trusted) * laplace
    inverse = torch.linalg.inv(torch.linalg.cholesky(covariance)).mT

    step = torch.linalg.solve_triangular(bound.factor, (trust * mean).unsqueeze(-1), upper=False)
    log_mass = (mass + SPARE_SHARE / pot.modes).log()
    loc = bound.minima.x + step.squeeze(-1)
    return _defended(bound, log_mass, loc, inverse, log_det(inverse), defensive)


def _defended(
    bound: GaussianBound,
    log_mass: Tensor,
    loc: Tensor,
    inner: Tensor,
    log_det_inner: Tensor,
    defensive: float,
) -> _Proposal:
    """Gaussians at ``loc``, of precision ``inner inner^T`` in the frames, and the envelope's."""
    wide = bound.factor.mT
    log_shares = [
        torch.log_softmax(log_mass, -1) + math.log(1 - defensive),
        torch.log_softmax(bound.log_masses, -1) + math.log(defensive),
    ]
    log_dets = [log_det(wide) + log_det_inner, log_det(wide)]
    return _Proposal(
        torch.cat(log_shares, -1),
        torch.cat([loc, bound.minima.x], -2),
        torch.cat([wide @ inner, wide], -3),
        torch.cat(log_dets, -1),
    )


def _draws(n: int, log_share: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Components (n, *batch) of a mixture and white noise (n, *batch, dim)."""
    component = categorical(log_share, n)
    z = randn_like(log_share.new_empty((*component.shape, dim)))
    return component, z


def _sobol_draws(n: int, log_share: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """As :func:`_draws`, from Sobol points shared by the batch, scrambled by the random state."""
    seed = int(randint(2**31))
    engine = torch.quasirandom.SobolEngine(dim + 1, scramble=True, seed=seed)
    tiny = 2.0**-31  # half of the engine's resolution: the normal quantile of 0 would be infinite
    u = engine.draw(n, dtype=torch.float64).clamp(tiny, 1 - tiny).to(log_share.device)
    u = u.reshape(n, *(1,) * (log_share.dim() - 1), dim + 1)
    reached = log_share.exp().cumsum(-1) <= u[..., :1]
    component = reached.sum(-1).clamp_max(log_share.shape[-1] - 1)
    z = torch.special.ndtri(u[..., 1:]).to(log_share)
    return component, z.expand(*component.shape, dim)
