"""Figures of potentials: curves, contours, surfaces."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from torch import Tensor

from lse_vi.checks import check_count
from lse_vi.densities.result import FitResult
from lse_vi.distribution.box import Box
from lse_vi.distribution.density import LSEDensity
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.minima import Minima
from lse_vi.plots.canvas import (
    around,
    as_numpy,
    as_points,
    check_plottable,
    draw_rug,
    lattice,
    mode_colors,
    one_turn,
    padded,
    planes,
    potential_of,
    scatter,
)
from lse_vi.plots.style import FIT, GREY, HEIGHTS, NAMED, STYLE, legend_below, new_axes
from lse_vi.potentials.result import PotentialFit
from lse_vi.signatures.checked import checked

# Starts per axis of the search for minima, by dimension: close enough that each well has one.
STARTS_PER_AXIS = {1: 64, 2: 12}
LEVELS = 20  # steps between contour lines at most
SHOWN_QUANTILE = 0.8  # of E in the plane: contour lines end there, or walls would take them all


@checked
def plot_potential(
    potential: LSEICNN | LSEDensity | FitResult | PotentialFit,
    *,
    bounds: Any = None,
    data: Any = None,
    ax: Axes | None = None,
    grid: int = 400,
) -> Axes:
    r"""A potential in one or two dimensions and its minima, over ``bounds`` or around ``data``.

    Use it to see the wells of a fit and which mode makes which well.

    In one dimension the figure shows E(x) and, dashed, the modes f_k(x) - log(s_k/K)/rho of which
    E is the soft minimum: a mode equals E(x) where it alone is responsible, and is above E(x)
    elsewhere. In two dimensions it shows contour lines of E. Modes responsible for less than 1 % of
    the window are left out; ten are named. Without ``bounds``, the window of a periodic coordinate
    is one period, [-P/2, P/2].

    Args:
        potential: E, without batch dimensions; or a density or a result that has it.
        bounds: (low, high) of the window, each a number or ``dim`` numbers.
        data: points (n, dim) or (n,) to show; without ``bounds`` they set the window.
        ax: axes to draw on; a new figure by default.
        grid: points per axis where E is evaluated.

    Returns:
        The axes.

    Raises:
        ValueError: without bounds and without data that vary, for a batch, or for more than two
            dimensions.

    Example:
        >>> plot_potential(LSEICNN(1, 2), bounds=(-3, 3)).get_ylabel()
        'potential $E(x)$'
    """
    potential = potential_of(potential)
    check_plottable("potential", potential.dim, potential.batch_shape)
    points = None if data is None else as_points(data, potential)
    points = points if points is None or bounds is not None else one_turn(points, potential)
    box = _window(potential, bounds, points)
    x = lattice(box, check_count("grid", grid, 2))
    with torch.no_grad():
        energy = potential(x)
        gates = potential.log_gates - math.log(potential.modes)
        modes = potential.mode_potentials(x) - gates / potential.rho
        colors = mode_colors(potential.responsibilities(x).mean(0))
    minima = _minima(potential, box)
    ax = ax or new_axes()
    if potential.dim == 1:
        if points is not None:
            draw_rug(ax, points, label="data")
        # Below the modes and wider, so that it shows where they touch it.
        wide: dict[str, Any] = {"color": FIT, "lw": 3, "zorder": 1.9}
        ax.plot(as_numpy(x), as_numpy(energy), **wide, label="potential $E$")
        for i, (k, color) in enumerate(colors.items()):
            label = f"mode {k}" if i < NAMED else None
            ax.plot(as_numpy(x), as_numpy(modes[:, k]), color=color, ls="--", lw=1.2, label=label)
        where = torch.stack([minima.points[:, 0], minima.energies], dim=-1)
        low, high = energy.min().item(), energy.max().item()
        margin = 0.08 * (high - low)
        ax.set(xlabel="$x$", ylabel="potential $E(x)$", ylim=(low - margin, high + margin))
    else:
        low, high = energy.min().item(), energy.quantile(SHOWN_QUANTILE).item()
        levels = _levels(low, high)
        lines = ax.contour(*planes(x, energy), levels=levels, cmap=HEIGHTS, linewidths=1)
        scale = ScalarMappable(lines.norm, lines.cmap)
        bar = ax.figure.colorbar(scale, ax=ax, label="potential $E(x)$")
        bar.set_ticks(levels[::2].tolist())
        ax.set(xlabel="$x_1$", ylabel="$x_2$")
        if points is not None:
            scatter(ax, points, s=12, lw=0, c=GREY, label="data")
        where = minima.points
    scatter(ax, where, s=50, c="white", edgecolor=FIT, lw=1.5, zorder=3, label="minima of $E$")
    legend_below(ax)
    return ax


@checked
def plot_surface(
    potential: LSEICNN | LSEDensity | FitResult | PotentialFit,
    *,
    bounds: Any = None,
    data: Any = None,
    ax: Axes3D | None = None,
    grid: int = 120,
    highest: float = 0.8,
) -> Axes3D:
    r"""A landscape in two dimensions as a surface, with its minima, and contour lines below.

    Use it for a picture of wells and passes; contour lines alone are in
    :func:`plot_potential`.

    Args:
        potential: E of two dimensions, without batch dimensions; or what has it.
        bounds: (low, high) of the window, each a number or two numbers.
        data: points (n, 2); without ``bounds`` they set the window.
        ax: axes made with ``projection="3d"``; a new figure by default.
        grid: points per axis where E is evaluated.
        highest: the surface ends at this quantile of E, in (0, 1]; at 1 high walls dwarf the wells.

    Returns:
        The axes.

    Raises:
        ValueError: for another dimension, a batch, no window, or ``highest`` outside (0, 1].

    Example:
        >>> plot_surface(LSEICNN(2, 3), bounds=(-1, 1), grid=20).get_zlabel()
        'potential $E(x)$'
    """
    potential = potential_of(potential)
    check_plottable("potential", potential.dim, potential.batch_shape)
    if potential.dim != 2:
        raise ValueError("potential must have 2 dimensions, but has 1; see plot_potential")
    if not 0 < highest <= 1:
        raise ValueError(f"highest must be in (0, 1], but got {highest}")
    box = _window(potential, bounds, None if data is None else as_points(data, potential))
    x = lattice(box, check_count("grid", grid, 2))
    with torch.no_grad():
        energy = potential(x)
    low, high = energy.min().item(), energy.quantile(highest).item()
    floor = low - 0.6 * (high - low)  # height of the contour lines: clear of the surface
    minima = _minima(potential, box)
    if ax is None:
        with plt.rc_context(STYLE):
            _, ax = plt.subplots(figsize=(6, 5), subplot_kw={"projection": "3d"})
    x1, x2, height = planes(x, energy)
    shown = np.where(height <= high, height, np.nan)
    ax.plot_surface(
        x1, x2, shown, cmap=HEIGHTS, rcount=grid, ccount=grid, lw=0, antialiased=False, zorder=2
    )
    levels = _levels(low, high)
    lines: dict[str, Any] = {"cmap": HEIGHTS, "linewidths": 0.8, "zorder": 1}
    ax.contour(x1, x2, height, levels=levels, zdir="z", offset=floor, **lines)
    ax.plot([], [], [], color=HEIGHTS(0.5), lw=0.8, label="contour lines of $E$")
    ax.computed_zorder = False  # so that zorder puts the marks before the surface
    marks: dict[str, Any] = {"s": 40, "c": "white", "edgecolor": FIT, "lw": 1.5, "zorder": 3}
    where = (*as_numpy(minima.points).T, as_numpy(minima.energies))
    ax.scatter(*where, depthshade=False, label="minima of $E$", **marks)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", zlabel="potential $E(x)$", zlim=(floor, high))
    ax.set_zticks([tick for tick in ax.get_zticks() if low <= tick <= high])
    ax.set_box_aspect((1, 1, 0.8), zoom=0.85)
    ax.view_init(elev=32, azim=-60)
    ax.legend(loc="upper right", fontsize="small", frameon=False)
    return ax


def _window(potential: LSEICNN, bounds: Any, points: Tensor | None) -> Box:
    """The window: the box ``bounds``, or one around ``points``."""
    if bounds is not None:
        return Box.of(bounds, potential.dim, potential.alpha)
    turn = potential.units.period.isfinite()
    if points is None and bool(turn.all()):
        points = potential.alpha.new_zeros(1, potential.dim).to(potential.point_dtype)
    if points is not None and bool(((points.amin(0) < points.amax(0)) | turn).all()):
        return around(padded(points), potential)
    came = "neither" if points is None else f"data with ranges {np.ptp(as_numpy(points), axis=0)}"
    raise ValueError(
        f"bounds, or data that vary in each coordinate, must set the window, but got {came}"
    )


def _levels(low: float, high: float) -> np.ndarray:
    """Heights of contour lines: round numbers between ``low`` and ``high``, evenly spaced."""
    locator = MaxNLocator(LEVELS, steps=[1, 2, 2.5, 5, 10])
    ticks = np.asarray(locator.tick_values(low, high))
    return ticks[(ticks > low) & (ticks <= high)]


def _minima(potential: LSEICNN, box: Box) -> Minima:
    """The minima inside the window, each as often as a period has it there."""
    found = potential.minima(lattice(box, STARTS_PER_AXIS[potential.dim]))
    period = potential.units.period.to(found.points)
    laps = torch.where(period.isfinite(), (box.width / period).ceil(), 0.0)
    ticks = [torch.arange(int(n) + 1) for n in laps.tolist()]
    turns = torch.cartesian_prod(*ticks).reshape(-1, 1, potential.dim).to(period)
    points = found.points + turns * torch.where(period.isfinite(), period, 0.0)
    inside = box.contains(points)
    return Minima(points[inside], found.energies.expand(inside.shape)[inside])
