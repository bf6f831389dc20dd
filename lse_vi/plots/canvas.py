"""The points, windows and lattices of the figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from lse_vi.checks import check_dim
from lse_vi.densities.result import FitResult
from lse_vi.distribution.box import Box
from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.wrapping import lowest
from lse_vi.network.circle import wrapped
from lse_vi.network.potential import ACTIVE, LSEICNN
from lse_vi.numerics.arrays import as_points as read_points
from lse_vi.plots.style import COLORS, GREY
from lse_vi.potentials.result import PotentialFit

WINDOW_MARGIN = 0.05  # on each side of a window, as a share of its range: no point is on the edge


def check_plottable(name: str, dim: int, batch_shape: Sequence[int]) -> None:
    """``name`` must be a single object, not a batch, of one or two dimensions."""
    if batch_shape:
        raise ValueError(
            f"{name} must be a single one, but batch_shape is {tuple(batch_shape)}; "
            "plot the one of potential.select(index)"
        )
    if dim > 2:
        raise ValueError(
            f"{name} must have 1 or 2 dimensions to be plotted, but has {dim}; plot samples of it "
            "instead, or slices"
        )


def as_points(data: Any, potential: LSEICNN) -> Tensor:
    """``data`` as points (n, dim) like the potential's parameters."""
    points = read_points("data", data).to(potential.alpha.device, potential.point_dtype)
    check_dim("data", points, potential.dim)
    return points


def shown(given: LSEDensity | FitResult) -> tuple[LSEDensity, Sequence[str]]:
    """A density or that of a fit, and the labels of its axes: names of the data if they had any."""
    names: Sequence[str] = ()
    if isinstance(given, FitResult):
        given, names = given.density, given.names
    dim = given.potential.dim
    return given, names or (["$x$"] if dim == 1 else [f"$x_{i + 1}$" for i in range(dim)])


def potential_of(given: LSEICNN | LSEDensity | FitResult | PotentialFit) -> LSEICNN:
    """A potential, or that of a density or of a fit."""
    density = given.density if isinstance(given, FitResult) else given
    return density if isinstance(density, LSEICNN) else density.potential


def one_turn(points: Tensor, potential: LSEICNN) -> Tensor:
    """Points (n, dim) modulo the period, in [-P/2, P/2)."""
    period = potential.units.period.to(points)
    return wrapped(points, period, lowest(period))


def around(box: Box, potential: LSEICNN) -> Box:
    """``box``, but one whole period where x is periodic."""
    period = potential.units.period.to(box.low)
    low, turn = lowest(period), period.isfinite()
    return Box(torch.where(turn, low, box.low), torch.where(turn, -low, box.high))


def padded(points: Tensor) -> Box:
    """A box around ``points`` with a margin."""
    low, high = points.aminmax(dim=0)
    margin = WINDOW_MARGIN * (high - low)
    return Box(low - margin, high + margin)


def lattice(box: Box, n: int) -> Tensor:
    """``n`` points per axis of ``box``: (n^dim, dim), the last axis running fastest."""
    ticks = [torch.linspace(0, 1, n).to(box.low)] * len(box.low)
    # Unlike low + t (high - low), lerp never rounds to a point outside the box.
    return torch.lerp(box.low, box.high, torch.cartesian_prod(*ticks).reshape(-1, len(box.low)))


def planes(x: Tensor, values: Tensor) -> list[np.ndarray]:
    """x_1, x_2 and ``values`` as (n, n) each, for contours, from lattice points ``x`` (n^2, 2)."""
    n = math.isqrt(len(x))
    return [as_numpy(part).reshape(n, n) for part in (x[:, 0], x[:, 1], values)]


def as_numpy(x: Tensor) -> np.ndarray:
    """A tensor as an array for Matplotlib."""
    return x.detach().cpu().numpy()


def mode_colors(weights: Tensor) -> dict[int, str]:
    """A colour for each mode whose weight is large enough to be shown."""
    visible = (weights >= ACTIVE).nonzero().flatten().tolist()
    return {k: COLORS[i % len(COLORS)] for i, k in enumerate(visible)}


def scatter(ax: Axes, points: Tensor, **style: Any) -> None:
    """Markers at ``points`` (n, 2)."""
    ax.scatter(as_numpy(points[:, 0]), as_numpy(points[:, 1]), **style)


def draw_rug(ax: Axes, points: Tensor, **style: Any) -> None:
    """Ticks at ``points`` (n, 1) on the horizontal axis."""
    x, foot = as_numpy(points), np.zeros(len(points))
    ax.plot(x, foot, "|", ms=10, color=GREY, transform=ax.get_xaxis_transform(), **style)
