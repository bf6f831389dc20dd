"""log Z by importance samples, in any dimension.

The proposals are Gaussians, or the exact upper bound of :mod:`lse_vi.distribution.bounds`. A share
of the draws always comes from that bound, so that the weights are bounded and their errors honest.
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

PILOT, ROUNDS = 4096, 4  # draws from which moments are estimated, and how often at most
ENOUGH, GROWTH = 100, 1.5  # effective draws that tell, and their growth that calls for more
SPARE_SHARE = 0.01  # share of the draws that all modes together get whatever their masses


@dataclass(frozen=True)
class Envelope:
    """Importance samples from the exact upper bound: bounded weights, so an honest error.

    Each weight exp(-E) / bound is an acceptance probability, in (0, 1]; their mean is unbiased for
    Z over the bound's mass, and its variance is finite whatever the potential.

    Args:
        samples: number of draws.

    Raises:
        ValueError: for fewer than two samples; when used where there is no bound: plain modes
            without a box, or in more than two dimensions.

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
    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """Weighted points for exp(-E), with the error of log Z."""
        bound = upper_bound(pot, box)
        x, log_accept = bound.propose(self.samples)
        rule = _Draws(x, pot(x), bound.log_mass + log_accept).checked().rule()
        # One over the expected number of accepted draws: a mode that none of them met.
        unseen = (-torch.logsumexp(log_accept, dim=0)).exp()
        return Rule(rule.points, rule.log_weights, torch.hypot(rule.error, unseen))


@dataclass(frozen=True)
class _Mixture:
    """Draws from a Gaussian for each mode, and a share from the exact envelope."""

    samples: int = 8192
    defensive: float = 0.1
    sobol: bool = False

    def __post_init__(self) -> None:
        check_count("samples", self.samples, 2)
        check_positive("defensive", check_fraction("defensive", self.defensive))

    @torch.no_grad()
    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """Weighted points for exp(-E), with the error of log Z."""
        if not isinstance(pot.network, WhitenedICNN):
            raise ValueError(
                f"{type(self).__name__} is for WhitenedICNN modes, which have minima to expand "
                "about; use Quadrature() or Envelope()"
            )
        proposal = self._proposal(GaussianBound(pot), box)
        return proposal.draw(pot, box, self.samples, sobol=self.sobol).rule()

    def _proposal(self, bound: GaussianBound, box: Box | None) -> _Proposal:
        raise NotImplementedError


@dataclass(frozen=True)
class LaplaceMixture(_Mixture):
    r"""Importance samples from the Laplace mixture, with a share from the exact envelope.

    The proposal is sum_k pi_k N(x_k*, H_k^-1) at the minimum of each mode, mixed with the Gaussian
    envelope: that share bounds the weights (Hesterberg 1995, defensive mixtures), the rest makes
    them nearly equal where modes are nearly normal. A mode with steep walls is not: its minimum may
    sit in a corner. There :class:`MomentMixture` is better.

    Args:
        samples: number of draws.
        defensive: share of the draws that comes from the envelope, in (0, 1).
        sobol: scrambled Sobol points in place of independent draws: several times less error in
            a few dimensions, and the error that is reported is then too large.

    Raises:
        ValueError: when used with plain modes, or on a box that no draw falls into.

    Example:
        >>> pot = LSEICNN(3, 2, rho=1.0, network=WhitenedICNN)
        >>> LaplaceMixture(samples=1000).rule(pot, None).points.shape
        torch.Size([1000, 3])
    """

    defensive: float = 0.2

    def _proposal(self, bound: GaussianBound, box: Box | None) -> _Proposal:
        return _laplace(bound, self.defensive)


@dataclass(frozen=True)
class MomentMixture(_Mixture):
    r"""Importance samples from Gaussians with the mass, mean and covariance of each mode.

    The proposal is sum_k pi_k N(E_k[x], Cov_k[x]) under q_k: of all Gaussians they have the least
    Kullback-Leibler divergence from q_k. As in :class:`LaplaceMixture` a share comes from the
    Gaussian envelope. Moments are estimated from draws of that mixture, then from draws of their
    own until no more of them count (adaptive importance sampling, Oh & Berger 1992). With steep
    walls in four dimensions two in five draws count, where it is one in seventy of the Laplace
    mixture's.

    Args:
        samples, defensive, sobol: as for :class:`LaplaceMixture`.

    Raises:
        ValueError: as :class:`LaplaceMixture`.

    Example:
        >>> pot = LSEICNN(3, 2, rho=1.0, network=WhitenedICNN)
        >>> MomentMixture(samples=1000).rule(pot, None).points.shape
        torch.Size([1000, 3])
    """

    def _proposal(self, bound: GaussianBound, box: Box | None) -> _Proposal:
        proposal, used = _laplace(bound, 0.5), torch.zeros_like(bound.pot.log_rho)
        for _ in range(ROUNDS):
            pilot = proposal.draw(bound.pot, box, PILOT, sobol=self.sobol)
            proposal = _moments(bound, pilot, self.defensive)
            before, used = used, 1 / pilot.probabilities.square().sum(0)
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

    def checked(self) -> _Draws:
        """These draws, if one or more of them fell into the box."""
        if bool((self.log_ratio.amax(0) == -torch.inf).any()):
            raise ValueError(
                f"bounds: none of {len(self.x)} draws from the modes fell inside; the modes lie "
                "too far outside"
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
    """Gaussians of precision R R^T, (*batch, parts, ...): x = loc + R^-T z with z white.

    One for each mode, then the envelope's.
    """

    log_share: Tensor
    loc: Tensor
    root: Tensor  # R
    log_det: Tensor  # log |det R|

    def draw(self, pot: LSEICNN, box: Box | None, n: int, *, sobol: bool) -> _Draws:
        """``n`` draws; those outside the ``box`` weigh nothing."""
        component, z = (_sobol_draws if sobol else _draws)(n, self.log_share, pot.dim)
        each = self.loc + _times(torch.linalg.inv(self.root).mT, z.unsqueeze(-2))
        x = torch.take_along_dim(each, component[..., None, None], dim=-2).squeeze(-2)

        white = _times(self.root.mT, x.unsqueeze(-2) - self.loc)
        log_normal = self.log_det - 0.5 * white.square().sum(-1)
        log_proposal = torch.logsumexp(self.log_share + log_normal, dim=-1)
        log_proposal = log_proposal - 0.5 * pot.dim * math.log(2 * math.pi)
        energy = pot(x)
        log_ratio = -energy - log_proposal
        if box is not None:
            log_ratio = log_ratio.masked_fill(~box.contains(x), -torch.inf)
        return _Draws(x, energy, log_ratio).checked()


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Matrices (*batch, parts, dim, dim) times vectors (n, *batch, parts, dim).

    In one product for all n: one for each vector would copy the matrices n times.
    """
    return (matrices @ vectors.movedim(0, -1)).movedim(-1, 0)


def _laplace(bound: GaussianBound, defensive: float) -> _Proposal:
    """Laplace's approximation of each mode, at its minimum."""
    # In the frame its precision is no less than one, so it has a Cholesky factor in any precision.
    curved = torch.linalg.cholesky(bound.minima.hessian)
    log_mass = log_weights(bound.pot) - bound.minima.f - log_det(curved) - log_det(bound.factor)
    return _defended(bound, log_mass, bound.minima.x, curved, log_det(curved), defensive)


def _moments(bound: GaussianBound, pilot: _Draws, defensive: float) -> _Proposal:
    """The moments of each mode, estimated from draws in the frame of that mode.

    Where few draws tell they are drawn towards Laplace's approximation. By the theorem of Brascamp
    & Lieb no variance exceeds one in the frame.
    """
    pot, x = bound.pot, pilot.x
    share = pilot.probabilities.unsqueeze(-1) * pot.responsibilities(x)  # (n, *batch, modes)
    mass = share.sum(0)
    share = share / mass.clamp_min(torch.finfo(mass.dtype).tiny)
    drawn = 1 / share.square().sum(0).clamp_min(torch.finfo(mass.dtype).tiny)
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
    """Gaussians at ``loc`` with precision ``inner inner^T`` in the frames, and the envelope's."""
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
    component = torch.distributions.Categorical(logits=log_share).sample((n,))
    z = torch.randn((*component.shape, dim), dtype=log_share.dtype, device=log_share.device)
    return component, z


def _sobol_draws(n: int, log_share: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The same from Sobol points, shared by the batch; scrambled by torch's random state."""
    seed = int(torch.randint(2**31, ()))
    engine = torch.quasirandom.SobolEngine(dim + 1, scramble=True, seed=seed)
    tiny = 2.0**-31  # half of the engine's resolution
    u = engine.draw(n, dtype=torch.float64).clamp(tiny, 1 - tiny).to(log_share.device)
    u = u.reshape(n, *(1,) * (log_share.dim() - 1), dim + 1)
    reached = log_share.exp().cumsum(-1) <= u[..., :1]
    component = reached.sum(-1).clamp_max(log_share.shape[-1] - 1)
    z = torch.special.ndtri(u[..., 1:]).to(log_share)
    return component, z.expand(*component.shape, dim)
