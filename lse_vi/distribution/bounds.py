r"""Upper bounds of exp(-E) that can be sampled: the basis of exact draws and bounded weights.

Each f_k is convex, so it lies above its tangent planes; if it is strongly convex, it also lies
above a tangent paraboloid. Both give a bound of exp(-E) that is sampled in closed form. A proposal
comes with its log acceptance probability, log(exp(-E) / bound), at most zero by convexity.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lse_vi.distribution.box import Box
from lse_vi.distribution.cells import CellIntegrals, Cells
from lse_vi.distribution.half_open import closed
from lse_vi.distribution.modes import SingleModes, log_factor, log_weights, mode_minima
from lse_vi.network.icnn import whitened
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.linear_algebra import log_det
from lse_vi.random.draws import categorical, rand_like, randn_like

FIRST_CELLS = 32  # cells per axis of the first tangent bound, halved from there
MAX_CELLS = 2**16  # number of cells from which a tangent bound is refined no more, for its memory
MOST_CORNERED = 10  # dimensions up to which the corners of a box are looked at one by one
LOOSE = 0.02  # share of a tangent bound's mass that exceeds exp(-E), above which cells are halved
CELL_NODES = 4  # per axis, to tell that share; even, so that none lies where the tangent touches
LEAST_SINH = 1e-4  # least |a| of log(sinh(a) / a), which is 1 + a^2/6: the error is 2e-9
# Least slope times half-width of a truncated exponential: flatter densities are uniform to 1e-6,
# and the quotient 0/0 is avoided.
LEAST_RATE = 1e-6


class Proposal(NamedTuple):
    """``x`` (n, *batch, dim) and log acceptance probabilities (n, *batch), all <= 0."""

    x: Tensor
    log_accept: Tensor


class UpperBound(Protocol):
    """An unnormalised density, nowhere below exp(-E), of mass exp(``log_mass``), (*batch,)."""

    log_mass: Tensor

    def propose(self, n: int) -> Proposal:
        """``n`` draws from the bound for each potential of the batch."""
        ...


class GaussianBound:
    r"""Strongly convex modes on R^d, each above the paraboloid that touches it near its minimum.

    In the frame of a mode f(u) >= f(v) + g.(u - v) + |u - v|^2/2 for every v, g = grad f(v). That
    is f(v) - |g|^2/2 + |u - c|^2/2 with c = v - g, so a proposal from N(c, I) is accepted with a
    probability of at most one. With v the minimiser, g = 0 and the bound is tightest. As it holds
    for every v, it stays exact where Newton's method stops a rounding error away.

    A proposal from a mode that is drawn by the mass of its bound is, once accepted, a draw of the
    mixture M(x) = sum_k (s_k/K)^p exp(-f_k), p = 1/rho. For rho = 1, M is exp(-E) itself; else
    exp(-E) <= M for p <= 1 and exp(-E) <= K^(p-1) M for p >= 1, and a second rejection leaves
    exp(-E). With a ``box``, draws outside it are never accepted.

    Args:
        pot: with strongly convex modes.
        box: the support; None for R^d.

    Raises:
        ValueError: for plain modes.

    Example:
        >>> from lse_vi import WhitenedICNN
        >>> GaussianBound(LSEICNN(3, 2, network=WhitenedICNN)).propose(5).x.shape
        torch.Size([5, 3])
    """

    def __init__(self, pot: LSEICNN, box: Box | None = None) -> None:
        self.pot, self.box = pot, box
        self.minima = mode_minima(pot)
        self.factor = whitened(pot.network).precision_factor().detach()
        g = self.minima.gradient
        step = torch.linalg.solve_triangular(self.factor, g.unsqueeze(-1), upper=False)
        self.centers = self.minima.x - step.squeeze(-1)
        self.floors = self.minima.f - 0.5 * g.square().sum(-1)
        # The bound of a mode has mass (2 pi)^(d/2) |T_k| exp(-floor).
        self.log_masses = (
            log_weights(pot).detach()
            - self.floors
            + 0.5 * pot.dim * math.log(2 * math.pi)
            - log_det(self.factor)
        )
        self.log_mass = torch.logsumexp(self.log_masses, -1) + log_factor(pot).detach()

    @torch.no_grad()
    def propose(self, n: int) -> Proposal:
        """``n`` draws: a mode by its mass, then N(c, I) in its frame."""
        mode = categorical(self.log_masses, n)
        u = randn_like(self.centers.new_empty((*mode.shape, self.pot.dim)))
        # Solve in the frames of all modes, then pick: a frame for each draw would fill the memory.
        columns = u.unsqueeze(-2).movedim(0, -1)  # (*batch, 1, dim, n)
        steps = torch.linalg.solve_triangular(self.factor, columns, upper=False).movedim(-1, 0)
        x = torch.take_along_dim(self.centers + steps, mode[..., None, None], dim=-2).squeeze(-2)
        floor = take_along_batch(self.floors, mode, 0) + 0.5 * u.square().sum(-1)
        f = self.pot.mode_potentials(x)
        own = f.gather(-1, mode.unsqueeze(-1)).squeeze(-1)
        log_m = torch.logsumexp(log_weights(self.pot) - f, dim=-1)
        # Two rejections in one: exp(floor - f_k) gives a draw of M, then exp(-E) / (C M) one of q.
        log_accept = (floor - own) + (-self.pot(x) - log_m - log_factor(self.pot))
        if self.box is not None:
            log_accept = log_accept.masked_fill(~self.box.contains(x), -torch.inf)
        return Proposal(x, log_accept)


class TangentBound:
    r"""A bound for any convex modes and any rho, on a box, cell by cell.

    On a cell with centre c and half-width h, f_k lies above its tangent plane at c, so exp(-E) lies
    below exp(U) with U(x) = log(sum_k s_k/K exp(-rho tangent_k(x))) / rho. U is convex, so
    U(x) + g.(x - c) is largest at a corner, for any slope g; with g = grad E(c) it is nearly
    constant, so its maximum is close everywhere. The bound exp(max - g.(x - c)) has a mass of sinh
    terms, and a draw from it has a truncated exponential in each coordinate. This is adaptive
    rejection sampling (Gilks & Wild 1992), generalised from log-concave densities
    to soft minima of convex functions.

    Args:
        pot: with modes of either kind.
        cells: that make up the support.

    Example:
        >>> cells = Cells.of(Box.of((-1, 1), 2, torch.zeros(())), 8)
        >>> TangentBound(LSEICNN(2, 3), cells).propose(5).x.shape
        torch.Size([5, 2])
    """

    def __init__(self, pot: LSEICNN, cells: Cells) -> None:
        self.pot, self.cells = pot, cells
        ones = (1,) * len(pot.batch_shape)
        points = cells.center.reshape(-1, *ones, 1, pot.dim)
        half = cells.half.reshape(-1, *ones, pot.dim)
        signs = torch.cartesian_prod(*([torch.tensor([-1.0, 1.0])] * pot.dim))
        corners = signs.reshape(-1, pot.dim).to(half)
        with torch.no_grad():
            modes = SingleModes(pot.network.stack())
            f, slopes = modes.value_and_gradient(points)  # (cells, *batch, modes[, dim])
            log_gates, rho = pot.log_gates - math.log(pot.modes), pot.rho.unsqueeze(-1)
            share = torch.softmax(log_gates - rho * f, dim=-1)
            self.slope = (share.unsqueeze(-1) * slopes).sum(-2)  # grad E, (cells, *batch, dim)
            top = [
                torch.logsumexp(
                    log_gates - rho * (f + (slopes * (half * corner).unsqueeze(-2)).sum(-1)), dim=-1
                )
                / pot.rho
                + (self.slope * half * corner).sum(-1)
                for corner in corners
            ]
            self.top = torch.stack(top).amax(0)  # (cells, *batch)
            log_integrals = _log_sinhc(self.slope * half) + (2 * half).log()
            log_masses = self.top + log_integrals.sum(-1)
            self.log_masses = log_masses.movedim(0, -1)
            self.log_mass = torch.logsumexp(self.log_masses, -1)

    @torch.no_grad()
    def propose(self, n: int) -> Proposal:
        """``n`` draws: a cell by its mass, then truncated exponentials inside it."""
        cell = categorical(self.log_masses, n)
        slope = take_along_batch(self.slope.movedim(0, -2), cell, 1)
        top = take_along_batch(self.top.movedim(0, -1), cell, 0)
        offset = _truncated_exponential(slope, self.cells.half[cell])
        x = self.cells.center[cell] + offset
        return Proposal(x, -self.pot(x) - top + (slope * offset).sum(-1))


def upper_bound(pot: LSEICNN, box: Box | None) -> UpperBound:
    """The bound for a support: tangents on a box in 1-2 dimensions, Gaussians elsewhere.

    In more dimensions a closed box that is small beside the modes has one tangent for all of it.
    Open sides are cut where the mass beyond is rounding.

    The cells of the tangents are halved, each by itself, until the bound exceeds exp(-E) by less
    than 2 % of its mass, which a few nodes in each cell tell.

    Raises:
        ValueError: for plain modes without a box or in more than two dimensions.
    """
    if box is None or pot.dim > 2:
        wide = GaussianBound(pot, box)
        if box is None or not box.finite or pot.dim > MOST_CORNERED:
            return wide
        flat = TangentBound(pot, Cells.of(box, 1))
        more = flat.log_mass - wide.log_mass  # nats by which it accepts less
        return flat if float(more.amax()) < -float(more.amin()) else wide
    cells = Cells.of(closed(box, pot), FIRST_CELLS)
    bound = TangentBound(pot, cells)
    while len(cells.center) < MAX_CELLS:
        total, mass = bound.log_mass, CellIntegrals.of(pot, cells, CELL_NODES).value
        excess = (bound.log_masses - total.unsqueeze(-1)).exp().movedim(-1, 0)
        excess = (excess - (mass - total).exp()).clamp_min(0.0)  # shares of the bound's own mass
        share, order = excess.reshape(len(cells.center), -1).amax(1).sort()
        loose = order[share.cumsum(0) > LOOSE]
        if not len(loose):
            break
        cells = cells.cut(loose)
        bound = TangentBound(pot, cells)
    return bound


def take_along_batch(values: Tensor, index: Tensor, event_dims: int) -> Tensor:
    """Pick entries ``index`` (n, *batch) along the axis behind the batch of ``values``."""
    axis = values.dim() - event_dims - 1
    wide = values.expand(len(index), *values.shape)
    where = index.reshape(*index.shape, *(1,) * (event_dims + 1))
    return torch.take_along_dim(wide, where, dim=axis + 1).squeeze(axis + 1)


def _log_sinhc(a: Tensor) -> Tensor:
    """log(sinh(a) / a), even in a and smooth through zero."""
    a = a.abs().clamp_min(LEAST_SINH)
    return a + torch.log(-torch.expm1(-2 * a)) - torch.log(2 * a)


def _truncated_exponential(slope: Tensor, half: Tensor) -> Tensor:
    """Draws on [-half, half] from a density proportional to exp(-slope t)."""
    rate = (slope * half).abs().clamp_min(LEAST_RATE)
    t = -torch.log1p(rand_like(slope) * torch.expm1(-2 * rate)) / rate - 1.0
    return torch.where(slope < 0, -t, t) * half
