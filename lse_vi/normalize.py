r"""log Z and other integrals of exp(-E): a method makes a rule, a rule is a set of weighted points.

.. math:: \int g(x) e^{-E(x)} dx \approx \sum_i w_i g(x_i) e^{-E(x_i)}

Quadrature nodes and importance samples have the same form, so log Z, its gradient, mode masses and
moments are each written once. The points and weights carry no gradient; log Z does, through E:
d log Z = -E_q[dE].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lse_vi.bounds import (
    GaussianBound,
    TangentBound,
    log_factor,
    log_weights,
    mode_minima,
    take_along_batch,
    upper_bound,
)
from lse_vi.checks import check_count, check_fraction, check_positive
from lse_vi.icnn import WhitenedICNN, whitened
from lse_vi.potential import LSEICNN
from lse_vi.support import Box


@dataclass(frozen=True)
class Rule:
    """Points (n, *batch or 1s, dim), log weights (n, *batch or 1s), error of log Z (*batch,)."""

    points: Tensor
    log_weights: Tensor
    error: Tensor

    def part(self, index: int, parts: int) -> Rule:
        """One of ``parts`` runs of points, for the whole: of draws, each is a rule of its own."""
        size = len(self.points) // parts
        own = slice(index % parts * size, (index % parts + 1) * size)
        log_weights = self.log_weights[own] + math.log(len(self.points) / size)
        return Rule(self.points[own], log_weights, self.error)

    def log_normalizer(self, pot: LSEICNN) -> Tensor:
        """log Z, (*batch,), differentiable in the parameters of ``pot``."""
        return torch.logsumexp(self.log_weights - pot(self.points), dim=0)

    @torch.no_grad()
    def probabilities(self, pot: LSEICNN) -> Tensor:
        """The weight of each point under q, (n, *batch); they sum to one over the points."""
        return torch.softmax(self.log_weights - pot(self.points), dim=0)

    @torch.no_grad()
    def mode_weights(self, pot: LSEICNN) -> Tensor:
        """Mass of q for which each mode is responsible, E_q[r_k]: (*batch, modes)."""
        return (self.probabilities(pot).unsqueeze(-1) * pot.responsibilities(self.points)).sum(0)


class Method(Protocol):
    """A way to integrate exp(-E) over a box or over R^d."""

    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """Weighted points for exp(-E), with the error of log Z."""
        ...


@dataclass(frozen=True)
class Quadrature:
    """Product rules in one or two dimensions, refined until log Z stands still.

    On a box: Gauss-Legendre panels. A mode so narrow that it hides between the nodes shows in the
    tangent bound of Z, and the panels are halved for it. On R^d each strongly convex mode is
    integrated along the axes of its own minimum, weighted by its share of the mixture M, a
    partition of unity: the trapezoidal rule, which converges exponentially for an analytic
    integrand that dies at both ends, on nodes that are as dense at the minimum as its curvature
    asks and reach as far as its frame does.

    The error is the last change of log Z, a bound on the error of the finer rule.

    Args:
        tolerance: refinement stops once no log Z of the batch changes by more (or by rounding).
        panels: per axis, to start with: panels of ``nodes`` on a box, of four points on R^d.
        nodes: Gauss-Legendre nodes per panel and axis.
        max_nodes: refinement stops here too; the error then says how far it got.

    Raises:
        ValueError: when used in more than two dimensions.

    Example:
        >>> from lse_vi import LSEDensity
        >>> q = LSEDensity(LSEICNN(1, 3), bounds=(-1, 1), method=Quadrature(tolerance=1e-6))
        >>> bool(q.log_normalizer_error <= 1e-5)
        True
    """

    tolerance: float = 1e-8
    panels: int = 8
    nodes: int = 8
    max_nodes: int = 300_000

    def __post_init__(self) -> None:
        check_positive("tolerance", self.tolerance)
        check_count("panels", self.panels)
        check_count("nodes", self.nodes, 2)

    @torch.no_grad()
    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """Weighted points for exp(-E), with the error of log Z."""
        if pot.dim > 2:
            raise ValueError(
                f"Quadrature is for 1 or 2 dimensions, but the potential has {pot.dim}; "
                "use LaplaceMixture() or Envelope()"
            )
        tolerance = max(self.tolerance, 16 * torch.finfo(pot.alpha.dtype).eps)
        grid = _ModeGrid(pot, tolerance) if box is None else _BoxGrid(pot, box, self.nodes)
        panels, previous = self.panels, None
        while True:
            points, weights = grid.nodes(panels)
            value = torch.logsumexp(weights - pot(points), dim=0)
            if previous is not None:
                error = torch.maximum((value - previous).abs(), grid.unseen(panels, value))
                if error.max() <= tolerance or 2**pot.dim * len(points) > self.max_nodes:
                    return Rule(points, weights, error)
            panels, previous = 2 * panels, value


class _BoxGrid:
    """Gauss-Legendre panels over a box."""

    def __init__(self, pot: LSEICNN, box: Box, order: int) -> None:
        self.pot, self.box, self.order = pot, box, order

    def nodes(self, panels: int) -> tuple[Tensor, Tensor]:
        """Points (n, *1s, dim) and log weights (n, *1s)."""
        ones = (1,) * len(self.pot.batch_shape)
        t, log_w = (
            torch.as_tensor(part).to(self.pot.alpha)
            for part in _panel_nodes(panels, self.order, self.pot.dim)
        )
        points = self.box.low + (t + 1) / 2 * self.box.width
        log_w = log_w + (self.box.width / 2).log().sum()
        return points.reshape(-1, *ones, self.pot.dim), log_w.reshape(-1, *ones)

    def unseen(self, panels: int, value: Tensor) -> Tensor:
        """By how much log Z may exceed ``value``, from a bound; 0 once that is within log 2."""
        gap = TangentBound(self.pot, self.box, cells=panels).log_mass - value
        return gap.where(gap > math.log(2.0), 0.0)


class _ModeGrid:
    """Trapezoidal rules on R^d, along the principal axes of each mode's minimum."""

    def __init__(self, pot: LSEICNN, tolerance: float) -> None:
        self.pot, self.minima = pot, mode_minima(pot)
        # f_k >= f_k* + |u - u*|^2/2, so outside this radius of the frame lies no more than a
        # hundredth of the tolerance, C included, by which exp(-E) may exceed M for rho < 1.
        self.radius = math.sqrt(2.0 * (math.log(100 / tolerance) + float(log_factor(pot).max())))
        factor = whitened(pot.network).precision_factor()
        moduli, axes = torch.linalg.eigh(self.minima.hessian)  # in the frame: at least one
        self.to_x = torch.linalg.solve_triangular(factor, axes, upper=False)
        self.log_det = -log_det(factor)
        # Nodes at u = radius sinh(c t) / sinh(c), |t| <= 1: their density at the minimum exceeds
        # the uniform one by sinh(c) / c, which is to be the root of the curvature.
        density = moduli.clamp_min(1.0).sqrt()
        c = density.log() + 1.0
        for _ in range(40):  # a contraction, by the factor tanh(c) / c
            c = torch.asinh(density * c)
        self.stretch = c.clamp_min(1e-3)

    def nodes(self, panels: int) -> tuple[Tensor, Tensor]:
        """Points (n, *batch, dim) and log weights (n, *batch)."""
        pot, count = self.pot, 4 * panels
        ticks = (2 * torch.arange(count).to(self.log_det) + 1) / count - 1
        t = torch.cartesian_prod(*[ticks] * pot.dim)
        t = t.reshape(-1, *(1,) * self.log_det.dim(), pot.dim)
        per_unit = self.radius / self.stretch.sinh()
        u = per_unit * (self.stretch * t).sinh()
        log_w = (2 / count * per_unit * self.stretch * (self.stretch * t).cosh()).log().sum(-1)
        x = self.minima.x + (self.to_x @ u.unsqueeze(-1)).squeeze(-1)  # (n, *batch, modes, dim)
        x, log_w = x.movedim(-2, 1), (log_w + self.log_det).movedim(-1, 1)
        own = torch.eye(pot.modes, dtype=torch.bool, device=x.device)
        own = own.reshape(pot.modes, *(1,) * len(pot.batch_shape), pot.modes)
        share = torch.log_softmax(log_weights(pot) - pot.mode_potentials(x), dim=-1)
        share = share.masked_fill(~own, -torch.inf).logsumexp(-1)
        return x.flatten(0, 1), (log_w + share).flatten(0, 1)

    def unseen(self, panels: int, value: Tensor) -> Tensor:
        """Nothing: the nodes are where the modes are."""
        return torch.zeros_like(value)


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
        rule = _importance_rule(pot, x, bound.log_mass + log_accept)
        # One over the expected number of accepted draws: a mode that none of them met.
        unseen = (-torch.logsumexp(log_accept, dim=0)).exp()
        return Rule(rule.points, rule.log_weights, torch.hypot(rule.error, unseen))


@dataclass(frozen=True)
class LaplaceMixture:
    r"""Importance samples from the Laplace mixture, with a share from the exact envelope.

    The proposal is sum_k pi_k N(x_k*, H_k^-1) at the minimum of each mode, mixed with the Gaussian
    envelope: that share bounds the weights (Hesterberg 1995, defensive mixtures), the rest makes
    them nearly equal.

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

    samples: int = 8192
    defensive: float = 0.2
    sobol: bool = False

    def __post_init__(self) -> None:
        check_count("samples", self.samples, 2)
        check_positive("defensive", check_fraction("defensive", self.defensive))

    @torch.no_grad()
    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """Weighted points for exp(-E), with the error of log Z."""
        if not isinstance(pot.network, WhitenedICNN):
            raise ValueError(
                "LaplaceMixture is for WhitenedICNN modes, which have minima to expand about; "
                "use Quadrature() or Envelope()"
            )
        bound = GaussianBound(pot)
        # Components (*batch, 2 K): Laplace at each minimum, then the envelope's Gaussians. The
        # root R has R R^T = precision, so x = x* + R^-T z with z white. In the frame Laplace's
        # precision is no less than one, so it has a Cholesky factor in any precision.
        loc = torch.cat([bound.minima.x, bound.minima.x], dim=-2)
        wide, curved = bound.factor.mT, torch.linalg.cholesky(bound.minima.hessian)
        log_dets = [log_det(wide) + log_det(curved), log_det(wide)]
        base = log_weights(pot) - bound.minima.f
        log_share = torch.cat(
            [
                torch.log_softmax(base - each, -1) + math.log(share)
                for each, share in zip(log_dets, (1 - self.defensive, self.defensive), strict=True)
            ],
            dim=-1,
        )
        root = torch.cat([wide @ curved, wide], dim=-3)

        component, z = (_sobol_draws if self.sobol else _draws)(self.samples, log_share, pot.dim)
        center = take_along_batch(loc, component, 1)
        step = torch.linalg.solve(take_along_batch(root, component, 2).mT, z.unsqueeze(-1))
        x = center + step.squeeze(-1)

        white = (root.mT @ (x.unsqueeze(-2) - loc).unsqueeze(-1)).squeeze(-1)
        log_normal = torch.cat(log_dets, dim=-1) - 0.5 * white.square().sum(-1)
        log_proposal = torch.logsumexp(log_share + log_normal, dim=-1)
        log_proposal = log_proposal - 0.5 * pot.dim * math.log(2 * math.pi)
        log_ratio = -pot(x) - log_proposal
        if box is not None:
            log_ratio = log_ratio.masked_fill(~box.contains(x), -torch.inf)
        return _importance_rule(pot, x, log_ratio)


def default_method(dim: int) -> Method:
    """Quadrature in one or two dimensions, the Laplace mixture beyond."""
    return Quadrature() if dim <= 2 else LaplaceMixture()


def log_det(root: Tensor) -> Tensor:
    """log |det| of triangular matrices, from their diagonals."""
    return root.diagonal(dim1=-2, dim2=-1).log().sum(-1)


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


def _importance_rule(pot: LSEICNN, x: Tensor, log_ratio: Tensor) -> Rule:
    """A rule from draws with log importance ratios log(exp(-E)/proposal), (n, *batch)."""
    n, top = len(log_ratio), log_ratio.amax(0)
    if bool((top == -torch.inf).any()):
        raise ValueError(
            f"bounds: none of {n} draws from the modes fell inside; the modes lie too far outside"
        )
    ratio = (log_ratio - top).exp()
    # delta method: sd(log mean) = sd / (mean sqrt n)
    error = ratio.std(0) / ratio.mean(0) / math.sqrt(n)
    return Rule(x, log_ratio + pot(x) - math.log(n), error)


@lru_cache(maxsize=32)
def _panel_nodes(panels: int, nodes: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Composite Gauss-Legendre on [-1, 1]^dim: points (n, dim) and log weights (n,)."""
    t, w = np.polynomial.legendre.leggauss(nodes)
    middles = (2 * np.arange(panels) + 1) / panels - 1
    ticks = (middles[:, None] + t / panels).ravel()
    log_w = np.log(np.tile(w / panels, panels))
    grid = np.stack(np.meshgrid(*[ticks] * dim, indexing="ij"), -1).reshape(-1, dim)
    weights = np.sum(np.meshgrid(*[log_w] * dim, indexing="ij"), axis=0).ravel()
    return grid, weights
