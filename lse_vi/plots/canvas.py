"""Points, windows and lattices, as the figures need them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from lse_vi.checks import check_dim
from lse_vi.distribution.box import Box
from lse_vi.network.potential import ACTIVE, LSEICNN
from lse_vi.numerics.arrays import as_data
from lse_vi.plots.style import COLORS, GREY


def check_plottable(name: str, dim: int, batch_shape: Sequence[int]) -> None:
    """A single ``name`` of one or two dimensions."""
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
    points = as_data("data", data).to(potential.alpha)
    check_dim("data", points, potential.dim)
    return points


def padded(points: Tensor) -> Box:
    """A box around ``points`` with a margin."""
    low, high = points.aminmax(dim=0)
    margin = 0.05 * (high - low)
    return Box(low - margin, high + margin)


def lattice(box: Box, n: int) -> Tensor:
    """``n`` points per axis of ``box``: (n^dim, dim), the last axis running fastest."""
    ticks = [torch.linspace(0, 1, n).to(box.low)] * len(box.low)
    # lerp, unlike low + t (high - low), never rounds to outside the box
    return torch.lerp(box.low, box.high, torch.cartesian_prod(*ticks).reshape(-1, len(box.low)))


def planes(x: Tensor, values: Tensor) -> list[np.ndarray]:
    """x_1, x_2 and ``values`` on a lattice, each (n, n), for contours."""
    n = math.isqrt(len(x))
    return [as_numpy(part).reshape(n, n) for part in (x[:, 0], x[:, 1], values)]


def as_numpy(x: Tensor) -> np.ndarray:
    """A tensor for matplotlib."""
    return x.detach().cpu().numpy()


def mode_colors(weights: Tensor) -> dict[int, str]:
    """A colour for each mode whose weight shows."""
    visible = (weights >= ACTIVE).nonzero().flatten().tolist()
    return {k: COLORS[i % len(COLORS)] for i, k in enumerate(visible)}


def scatter(ax: Axes, points: Tensor, **style: Any) -> None:
    """Markers at ``points`` (n, 2)."""
    ax.scatter(as_numpy(points[:, 0]), as_numpy(points[:, 1]), **style)


def draw_rug(ax: Axes, points: Tensor, **style: Any) -> None:
    """Ticks at ``points`` (n, 1) on the horizontal axis."""
    x, foot = as_numpy(points), np.zeros(len(points))
    ax.plot(x, foot, "|", ms=10, color=GREY, transform=ax.get_xaxis_transform(), **style)
