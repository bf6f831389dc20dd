"""log Z by product rules, in one or two dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lse_vi.checks import check_count, check_positive
from lse_vi.distribution.bounds import TangentBound
from lse_vi.distribution.box import Box
from lse_vi.distribution.modes import log_factor, log_weights, mode_minima
from lse_vi.distribution.rule import Rule
from lse_vi.network.icnn import whitened
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.linear_algebra import log_det

ROUNDINGS = 16  # machine epsilons of log Z that the tolerance is at least: sums round about as much
BEYOND = 100  # the mass beyond the outermost nodes on R^d is at most the tolerance over this
CONTRACTIONS = 40  # steps to the stretch c, whose error falls by a factor tanh(c) / c in each
LEAST_STRETCH = 1e-3  # least c: sinh(c) / c is then one up to 2e-7, and never 0/0
TRAPEZOIDS = 4  # points of a panel on R^d: the rule is halved, so its panels may be small


@dataclass(frozen=True)
class Quadrature:
    """Product rules in one or two dimensions, refined until log Z does not change any more.

    Use it in one and two dimensions, where it is the default: its error is far below that of
    importance samples. On a box the rules are Gauss-Legendre panels. If a mode is so narrow that it
    lies between the nodes, the tangent bound of Z is far above the rule, and the panels are halved.

    On R^d each strongly convex mode is integrated along the axes of its own minimum, weighted by
    its share of the mixture M, a partition of unity. The rule is the trapezoidal rule, which
    converges exponentially for an analytic integrand that vanishes at both ends. The density of its
    nodes at the minimum follows the curvature there; its outermost nodes follow the frame.

    The error is the last change of log Z, a bound on the error of the finer rule.

    Args:
        tolerance: refinement stops once no log Z of the batch changes by more, in nats; at least
            the rounding error.
        panels: per axis at the start; a panel has ``nodes`` points on a box, four on R^d.
        nodes: Gauss-Legendre nodes per panel and axis.
        max_nodes: refinement also stops before it needs more nodes; the error is then larger than
            the tolerance.

    Raises:
        TypeError: for a tolerance that is no number, or panels or nodes that are no integers.
        ValueError: for a tolerance that is not positive, fewer than one panel or two nodes; when
            used in more than two dimensions.

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
        tolerance = max(self.tolerance, ROUNDINGS * torch.finfo(pot.alpha.dtype).eps)
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
        """How far log Z may exceed ``value``, by the tangent bound; 0 if that is at most log 2.

        The bound always exceeds log Z a little. A missed mode shows once it has as much mass as
        all that the rule has found, which is a gap of log 2.
        """
        gap = TangentBound(self.pot, self.box, cells=panels).log_mass - value
        return gap.where(gap > math.log(2.0), 0.0)


class _ModeGrid:
    """Trapezoidal rules on R^d, along the principal axes of each mode's minimum."""

    def __init__(self, pot: LSEICNN, tolerance: float) -> None:
        self.pot, self.minima = pot, mode_minima(pot)
        # f_k >= f_k* + |u - u*|^2/2, so the mass outside this radius of the frame is at most a
        # hundredth of the tolerance. That allows for C, by which exp(-E) may exceed M if rho < 1.
        outside = math.log(BEYOND / tolerance) + float(log_factor(pot).max())
        self.radius = math.sqrt(2.0 * outside)
        factor = whitened(pot.network).precision_factor()
        moduli, axes = torch.linalg.eigh(self.minima.hessian)  # moduli are at least one
        self.to_x = torch.linalg.solve_triangular(factor, axes, upper=False)
        self.log_det = -log_det(factor)
        # The nodes are u = radius sinh(c t) / sinh(c), |t| <= 1. Their density at the minimum is
        # sinh(c) / c times the uniform one, which must be the root of the curvature. This is solved
        # for c by the fixed point c = asinh(density c), from above.
        density = moduli.clamp_min(1.0).sqrt()
        c = density.log() + 1.0
        for _ in range(CONTRACTIONS):
            c = torch.asinh(density * c)
        self.stretch = c.clamp_min(LEAST_STRETCH)

    def nodes(self, panels: int) -> tuple[Tensor, Tensor]:
        """Points (n, *batch, dim) and log weights (n, *batch)."""
        pot, count = self.pot, TRAPEZOIDS * panels
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
        """Zero: the nodes are placed on the modes, so they miss none."""
        return torch.zeros_like(value)


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
