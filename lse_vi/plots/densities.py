"""Figures of densities."""

from __future__ import annotations

import math
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from torch import Tensor

from lse_vi.checks import check_count
from lse_vi.distribution.box import Box
from lse_vi.distribution.density import LSEDensity
from lse_vi.plots.canvas import (
    as_numpy,
    as_points,
    check_plottable,
    draw_rug,
    lattice,
    mode_colors,
    padded,
    planes,
    scatter,
)
from lse_vi.plots.style import GREY, NAMED, PALE, SHADES, new_axes

FEW = 200  # up to so many data points get a tick each, besides the histogram; more would merge
LEAST_HEIGHT = 1e-3  # share of the highest mode below which a mode's curve is not drawn
WINDOW_QUANTILES = (0.0005, 0.9995)  # of each marginal, which the window holds: all but 0.1 %


def plot_density(
    density: LSEDensity, data: Any = None, *, ax: Axes | None = None, grid: int = 400
) -> Axes:
    r"""A density in one or two dimensions, with the share and the weight of each mode.

    Use it to see which mode explains which part of the data.

    In one dimension the figure shows q(x) and the shares r_k(x) q(x) that add up to it, over a
    histogram of the data. In two dimensions it shows q(x) in grey, the peak of each share, and the
    data in the colour of their most responsible mode. The window is the density's box; without a
    box it holds the data and all but 0.1 % of each marginal. Modes with a weight below 1 % are left
    out; the heaviest ten are named.

    Args:
        density: q, without batch dimensions.
        data: points (n, dim) or (n,), tensor or array.
        ax: axes to draw on; a new figure by default.
        grid: points per axis where q is evaluated.

    Returns:
        The axes.

    Raises:
        ValueError: for a batch of densities, more than two dimensions, or data of another
            dimension.

    Example:
        >>> from lse_vi import LSEICNN, WhitenedICNN
        >>> q = LSEDensity(LSEICNN(1, 2, rho=1.0, network=WhitenedICNN))
        >>> plot_density(q).get_ylabel()
        'density $q(x)$'
    """
    potential = density.potential
    check_plottable("density", potential.dim, density.batch_shape)
    points = None if data is None else as_points(data, potential)
    x = lattice(density.box or _mass_box(density, points), check_count("grid", grid, 2))
    with torch.no_grad():
        q = density.log_prob(x).exp()
        shares = q.unsqueeze(-1) * potential.responsibilities(x)
        weights = density.mode_weights
        peaks = x[shares.argmax(0)]  # (modes, dim)
    colors = mode_colors(weights)
    named = sorted(colors, key=lambda k: -weights[k])[:NAMED]
    ax = ax or new_axes()
    if potential.dim == 1:
        if points is not None:
            bins = math.isqrt(2 * len(points))
            ax.hist(as_numpy(points), bins=bins, density=True, color=PALE, label="data")
            if len(points) <= FEW:
                draw_rug(ax, points)
        ticks, heights = as_numpy(x[:, 0]), as_numpy(shares)
        for k, color in colors.items():
            label = f"mode {k}, weight {weights[k]:.2f}" if k in named else None
            high = heights[:, k] > LEAST_HEIGHT * heights.max()
            ax.fill_between(ticks, heights[:, k], where=high, color=color, alpha=0.3, linewidth=0)
            ax.plot(ticks[high], heights[high, k], color=color, label=label)
        ax.plot(ticks, as_numpy(q), color="black", linewidth=1, label="density $q$")
        ax.set(xlabel="$x$", ylabel="density $q(x)$", ylim=(0, None))
    else:
        shades = ax.contourf(*planes(x, q), levels=12, cmap=SHADES)
        ax.figure.colorbar(shades, ax=ax, label="density $q(x)$")
        ax.set(xlabel="$x_1$", ylabel="$x_2$")
        if points is not None:
            with torch.no_grad():
                owners = potential.responsibilities(points).argmax(-1).tolist()
            scatter(ax, points, s=8, lw=0, c=[colors.get(k, GREY) for k in owners])
            ax.scatter([], [], s=8, lw=0, c=GREY, label="data, in the colour of their mode")
        scatter(ax, peaks[list(colors)], s=60, marker="X", c=list(colors.values()), edgecolor="k")
        ax.scatter([], [], s=60, marker="X", c="white", edgecolor="k", label="mode: weight")
        halo = [withStroke(linewidth=2, foreground="white")]
        for k in named:
            text, (x1, x2) = f"{k}: {weights[k]:.2f}", peaks[k].tolist()
            ax.annotate(text, (x1, x2), (6, 6), textcoords="offset points", path_effects=halo)
    ax.legend(fontsize="small", frameon=False)
    return ax


def _mass_box(density: LSEDensity, points: Tensor | None) -> Box:
    """A box that holds ``points`` and all but 0.1 % of each marginal of ``density``."""
    with torch.no_grad():
        x, order = density.rule.points.sort(0)
        mass = density.rule.probabilities(density.potential)[order].cumsum(0)
    ends = [x.gather(0, (mass < p).sum(0, keepdim=True)) for p in WINDOW_QUANTILES]
    return padded(torch.cat(ends if points is None else [*ends, points]))
