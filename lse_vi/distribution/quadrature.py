"""log Z by product rules, in one or two dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lse_vi.checks import check_count, check_positive
from lse_vi.distribution.bounds import TangentBound
from lse_vi.distribution.box import Box
from lse_vi.distribution.cells import CellIntegrals, Cells
from lse_vi.distribution.half_open import closed
from lse_vi.distribution.modes import SingleModes, log_factor, log_weights, mode_minima
from lse_vi.distribution.rule import ModeRule, Rule
from lse_vi.network.icnn import whitened
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.linear_algebra import log_det
from lse_vi.signatures.checked import checked

ROUNDINGS = 16  # machine epsilons of log Z that the tolerance is at least: sums round about as much
BEYOND = 100  # the mass beyond the outermost nodes on R^d is at most the tolerance over this
CONTRACTIONS = 40  # steps to the stretch c, whose error falls by a factor tanh(c) / c in each
LEAST_STRETCH = 1e-3  # least c: sinh(c) / c is then one up to 2e-7, and never 0/0
TRAPEZOIDS = 4  # points of a panel on R^d: the rule is halved, so its panels may be small


@checked
@dataclass(frozen=True)
class Quadrature:
    """Product rules in one or two dimensions, refined until log Z does not change any more.

    Use it in one and two dimensions, where it is the default: its error is far below that of
    importance samples. On a box the rules are Gauss-Legendre in cells, each halved until that
    changes Z no more, so a mode may be narrow and the box wide. If a mode is so narrow that it lies
    between the nodes of a cell, the tangent bound of Z is far above the rule there, and the cell is
    halved.

    On R^d each strongly convex mode is integrated along the axes of its own minimum, weighted by
    its share of the mixture M, a partition of unity. The rule is the trapezoidal rule, which
    converges exponentially for an analytic integrand that vanishes at both ends. The density of its
    nodes at the minimum follows the curvature there; its outermost nodes follow the frame.

    The error is the last change of log Z, a bound on the error of the finer rule; on a box the sum
    of the changes in all cells.

    Args:
        tolerance: refinement stops once no log Z of the batch changes by more, in nats; at least
            the rounding error.
        panels: per axis at the start: cells of ``nodes`` points per axis on a box, and four points
            on R^d.
        nodes: Gauss-Legendre nodes per cell and axis.
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
        check_count("max_nodes", self.max_nodes)

    @torch.no_grad()
    @checked
    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """Weighted points for exp(-E), with the error of log Z."""
        if pot.dim > 2:
            raise ValueError(
                f"Quadrature is for 1 or 2 dimensions, but the potential has {pot.dim}; "
                "use LaplaceMixture() or Envelope()"
            )
        tolerance = max(self.tolerance, ROUNDINGS * torch.finfo(pot.alpha.dtype).eps)
        if box is not None:
            return _box_rule(pot, closed(box, pot), self, tolerance)
        grid = _ModeGrid(pot, tolerance)
        return Rule(
            *self._refined(grid.nodes, lambda x, w: torch.logsumexp(w - pot(x), dim=0), tolerance)
        )

    def _refined(
        self,
        nodes: Callable[[int], tuple[Tensor, Tensor]],
        log_z: Callable[[Tensor, Tensor], Tensor],
        tolerance: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Nodes and log weights with so many panels that log Z has stopped changing; the change."""
        panels, previous = self.panels, None
        while True:
            points, weights = nodes(panels)
            value = log_z(points, weights)
            if previous is not None:
                error, dim = (value - previous).abs(), points.shape[-1]
                each = points[..., 0].numel() // max(1, value.numel())  # of the batch
                if error.max() <= tolerance or 2**dim * each > self.max_nodes:
                    return points, weights, error
            panels, previous = 2 * panels, value


@torch.no_grad()
def mode_rule(how: Quadrature, pot: LSEICNN) -> ModeRule:
    """The nodes of ``how`` that carry mass on R^d, for rho = 1: each mode is integrated by itself.

    Args:
        how: the tolerance and the largest number of nodes.
        pot: with strongly convex modes.
    """
    grid, modes = _ModeGrid(pot, how.tolerance), SingleModes(pot.network.stack())
    log_w = log_weights(pot)

    def log_z(x: Tensor, w: Tensor) -> Tensor:
        return torch.logsumexp(w + log_w - modes.value(x), dim=(0, -1))

    return ModeRule(*how._refined(grid.own_nodes, log_z, how.tolerance)).carrying(pot)


def _box_rule(pot: LSEICNN, box: Box, how: Quadrature, tolerance: float) -> Rule:
    """Cells are halved, each by itself, until Z changes by less than the tolerance in all of them.

    A cell in which the tangent bound is far above the rule may hide a mode between its nodes.
    """
    parts, per_cell = 2**pot.dim, how.nodes**pot.dim
    cells = Cells.of(box, how.panels)
    coarse = CellIntegrals.of(pot, cells, how.nodes).value
    points, weights = list[Tensor](), list[Tensor]()
    values, errors = [coarse[:0]], [coarse[:0]]  # of the cells that are good enough
    spent, used = 0.0, 0
    while len(cells.center):
        cells = cells.halved()
        fine = CellIntegrals.of(pot, cells, how.nodes)
        log_z = torch.cat([*values, fine.value]).logsumexp(0)
        after = fine.value.unflatten(0, (-1, parts)).logsumexp(1)
        change = ((after - log_z).exp() - (coarse - log_z).exp()).abs()
        # The bound always exceeds the integral a little. A missed mode shows once it has as much
        # mass as all that the nodes have found, which is a gap of log 2.
        bound = TangentBound(pot, cells).log_masses.movedim(-1, 0)
        missed = (bound - log_z).where(bound - fine.value > math.log(2.0), -torch.inf)
        missed = missed.unflatten(0, (-1, parts)).logsumexp(1)
        noise = (fine.rounding * (fine.value - log_z).exp()).unflatten(0, (-1, parts)).sum(1)
        unsure = (change - noise).clamp_min(0.0) + missed.exp()
        size, order = unsure.reshape(len(unsure), -1).amax(1).sort()
        total = spent + size.cumsum(0)
        good = total <= (spent + tolerance) / 2
        if used + parts * per_cell * (len(good) + (parts - 1) * int((~good).sum())) > how.max_nodes:
            good = torch.ones_like(good)
        keep = torch.zeros_like(good).index_fill(0, order[good], True)
        mine = keep.repeat_interleave(parts)
        points.append(fine.points[mine].flatten(0, 1))
        weights.append(fine.log_weights[mine].flatten(0, 1))
        values.append(fine.value[mine])
        errors.append((torch.logaddexp(change.log(), missed) + log_z)[keep])
        used += len(points[-1])
        spent = float(total[good].amax()) if good.any() else spent
        cells, coarse = cells.select(~mine), fine.value[~mine]
    log_z = torch.cat(values).logsumexp(0)
    error = nn.functional.softplus(torch.cat(errors).logsumexp(0) - log_z)  # log(1 + share)
    return Rule(torch.cat(points), torch.cat(weights), error)


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

    def own_nodes(self, panels: int) -> tuple[Tensor, Tensor]:
        """Points (n, *batch, modes, dim) and log weights (n, *batch, modes) of each mode."""
        count, dim = TRAPEZOIDS * panels, self.pot.dim
        ticks = (2 * torch.arange(count).to(self.log_det) + 1) / count - 1
        t = torch.cartesian_prod(*[ticks] * dim)
        t = t.reshape(-1, *(1,) * self.log_det.dim(), dim)
        per_unit = self.radius / self.stretch.sinh()
        u = per_unit * (self.stretch * t).sinh()
        log_w = (2 / count * per_unit * self.stretch * (self.stretch * t).cosh()).log().sum(-1)
        x = self.minima.x + (self.to_x @ u.unsqueeze(-1)).squeeze(-1)
        return x, log_w + self.log_det

    def nodes(self, panels: int) -> tuple[Tensor, Tensor]:
        """Points (n, *batch, dim) and log weights (n, *batch)."""
        pot, (x, log_w) = self.pot, self.own_nodes(panels)
        x, log_w = x.movedim(-2, 1), log_w.movedim(-1, 1)
        own = torch.eye(pot.modes, dtype=torch.bool, device=x.device)
        own = own.reshape(pot.modes, *(1,) * len(pot.batch_shape), pot.modes)
        share = torch.log_softmax(log_weights(pot) - pot.mode_potentials(x), dim=-1)
        share = share.masked_fill(~own, -torch.inf).logsumexp(-1)
        return x.flatten(0, 1), (log_w + share).flatten(0, 1)
