"""Figures of densities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from torch import Tensor

from lse_vi.checks import check_count
from lse_vi.densities.result import FitResult
from lse_vi.distribution.box import Box
from lse_vi.distribution.density import LSEDensity
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
    scatter,
    shown,
)
from lse_vi.plots.style import (
    FIT,
    GREY,
    INSIDE,
    NAMED,
    SHADES,
    draw_histogram,
    legend_below,
    new_axes,
)
from lse_vi.signatures.checked import checked

FEW = 200  # up to so many data points get a tick each, besides the histogram; more would merge
DASHES = (0, (4, 2))  # of modes, between which the density shows
LEAST_HEIGHT = 1e-3  # share of the highest mode below which a mode's curve is not drawn
WINDOW_QUANTILES = (0.0005, 0.9995)  # of each marginal, which the window holds: all but 0.1 %
# Where that is this many times wider than what holds the middle 95 % of the mass, the window is the
# latter and as much again on each side: modes would be needles beside strays, or in a wide box.
TOO_WIDE, MIDDLE_QUANTILES = 10.0, (0.025, 0.975)


@checked
def plot_density(
    density: LSEDensity | FitResult, data: Any = None, *, ax: Axes | None = None, grid: int = 400
) -> Axes:
    r"""A density in one or two dimensions, with the share and the weight of each mode.

    Use it to see which mode explains which part of the data.

    In one dimension the figure shows q(x) and the shares r_k(x) q(x) that add up to it, over a
    histogram of the data. In two dimensions it shows q(x) in grey, the peak of each share, and the
    data in the colour of their most responsible mode. The window is the density's box; without a
    box it holds the data and all but 0.1 % of each marginal; where modes would be needles in it, it
    is closer, and the legend says how many points are outside. Where x is periodic it is one
    period, [-P/2, P/2], and the data are taken into it. Modes with a weight below 1 % are left out;
    the heaviest ten are named.

    Args:
        density: q, without batch dimensions, or the result of :func:`~lse_vi.fit_density`, whose
            names are those of the axes.
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
    density, names = shown(density)
    potential = density.potential
    check_plottable("density", potential.dim, density.batch_shape)
    points = None if data is None else one_turn(as_points(data, potential), potential)
    window = _window(density, points)
    x = lattice(window, check_count("grid", grid, 2))
    with torch.no_grad():
        q = density.log_prob(x).exp()
        shares = q.unsqueeze(-1) * potential.responsibilities(x)
        weights = density.mode_weights
        peaks = x[shares.argmax(0)]  # (modes, dim)
    colors = mode_colors(weights)
    named = sorted(colors, key=lambda k: -weights[k])[:NAMED]
    ax = ax or new_axes()
    outside = ""
    if points is not None:
        n, points = len(points), points[window.contains(points)]
        outside = f", {n - len(points)} of {n} outside" if len(points) < n else ""
    if potential.dim == 1:
        if points is not None and len(points):
            values = as_numpy(points.squeeze(-1))
            turn = potential.units.turn is not None  # then the edges are those of the window
            ends = (float(window.low), float(window.high)) if turn else None
            edges = np.histogram_bin_edges(values, math.isqrt(2 * len(values)), ends).tolist()
            height = np.full(len(values), 1 / (n * (edges[1] - edges[0])))
            draw_histogram(ax, values, edges, weights=height, label="data" + outside)
            if len(points) <= FEW:
                draw_rug(ax, points, label="each point")
        ticks, heights = as_numpy(x[:, 0]), as_numpy(shares)
        for k, color in colors.items():
            label = f"mode {k}, weight {weights[k]:.2f}" if k in named else None
            high = heights[:, k] > LEAST_HEIGHT * heights.max()
            ax.fill_between(ticks, heights[:, k], where=high, color=color, alpha=INSIDE, lw=0)
            ax.plot(ticks[high], heights[high, k], color=color, ls=DASHES, label=label)
        # Below the modes and wider, so that it shows between their dashes where one has all of it.
        ax.plot(ticks, as_numpy(q), color=FIT, lw=3, zorder=1.9, label="density $q$")
        ax.set(xlabel=names[0], ylabel="density $q(x)$", ylim=(0, None))
    else:
        shades = ax.contourf(*planes(x, q), levels=12, cmap=SHADES)
        ax.figure.colorbar(shades, ax=ax, label="density $q(x)$")
        ax.set(xlabel=names[0], ylabel=names[1])
        if points is not None:
            with torch.no_grad():
                owners = potential.responsibilities(points).argmax(-1).tolist()
            scatter(
                ax, points, s=12, lw=0.3, edgecolor="white", c=[colors.get(k, GREY) for k in owners]
            )
            ax.scatter([], [], s=12, c=GREY, label=f"data, in the colour of their mode{outside}")
        marked = [k for k in colors if not _cut_off(peaks[k], window, density)]
        crosses = [colors[k] for k in marked]
        scatter(ax, peaks[marked], s=60, marker="X", c=crosses, edgecolor="k")
        ax.scatter([], [], s=60, marker="X", c="white", edgecolor="k", label="mode: weight")
        halo = [withStroke(linewidth=2, foreground="white")]
        for k in (k for k in named if k in marked):
            text, (x1, x2) = f"{k}: {weights[k]:.2f}", peaks[k].tolist()
            ax.annotate(text, (x1, x2), (6, 6), textcoords="offset points", path_effects=halo)
    legend_below(ax)
    return ax


def _window(density: LSEDensity, points: Tensor | None) -> Box:
    """The box of ``density``, or one that holds ``points`` and the mass; closer if needed."""
    low, high = (_marginal(density, p) for p in WINDOW_QUANTILES)
    ends = torch.cat([low, high] if points is None else [low, high, points])
    whole = padded(ends)
    if density.box is not None:
        known = [torch.where(b.isfinite(), b, w) for b, w in zip(density.box, whole, strict=True)]
        whole = Box(*known)
    low, high = (_marginal(density, p).squeeze(0) for p in MIDDLE_QUANTILES)
    width = high - low
    close = Box(torch.maximum(low - width, whole.low), torch.minimum(high + width, whole.high))
    wide = whole.width > TOO_WIDE * width
    box = Box(*(torch.where(wide, *edges) for edges in zip(close, whole, strict=True)))
    return around(box, density.potential)


def _cut_off(peak: Tensor, window: Box, density: LSEDensity) -> bool:
    """Whether a peak on the lattice is on an edge of the window, and not of the support."""
    edge = (peak <= window.low) | (peak >= window.high)
    edge &= ~density.potential.units.period.isfinite()  # a circle has no edge
    if density.box is not None:
        edge &= (peak > density.box.low) & (peak < density.box.high)
    return bool(edge.any())


@torch.no_grad()
def _marginal(density: LSEDensity, p: float) -> Tensor:
    """The quantile ``p`` of each marginal, (1, dim)."""
    x, order = density.rule.points.sort(0)
    mass = density.rule.probabilities(density.potential)[order].cumsum(0)
    return x.gather(0, (mass < p).sum(0, keepdim=True).clamp_max(len(x) - 1))
