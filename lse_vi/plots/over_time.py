"""Densities over time, one fit for each time."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from matplotlib.axes import Axes

from lse_vi.densities.result import FitResult
from lse_vi.distribution.box import Box
from lse_vi.plots.canvas import around, as_numpy
from lse_vi.plots.style import FIT, SHADES, legend_below, new_axes
from lse_vi.signatures.checked import checked

HEIGHTS = 300  # points along the coordinate: more than a figure has pixels for a mode
OUTSIDE = 0.0005  # share of each density on either side that the window leaves out
LEAST_MASS = 0.01  # of a mode that gets a mark
AREA = 120.0  # of the mark of a mode with all the mass, in square points


@checked
def plot_over_time(result: FitResult, *, ax: Axes | None = None) -> Axes:
    """Densities over time, with their modes and masses (as in the paper's Fig. 8).

    Use it to see when one mode becomes two. Each column is the density at one time, in grey, as a
    share of its own maximum. The dots are the modes; the area of a dot is the mass of its mode.

    Args:
        result: of :func:`~lse_vi.fit_density` with ``by=``, or of a batch (n, times, 1). Labels
            that are numbers are times; others are put side by side.
        ax: axes to draw on; a new figure by default.

    Returns:
        The axes.

    Raises:
        ValueError: for a single fit, or points of more than one dimension.

    Example:
        >>> from lse_vi import fit_density
        >>> x = torch.randn(60, 3, 1)
        >>> res = fit_density(x, modes=1, steps=20, polish=0, progress=False)
        >>> plot_over_time(res).get_ylabel()
        '$x$'
    """
    q = result.density
    if len(q.batch_shape) != 1 or q.potential.dim != 1:
        raise ValueError(
            "result must be fits of one coordinate at several times, as of fit_density(df, "
            f"value=..., by=...), but got dim={q.potential.dim} and batch_shape "
            f"{tuple(q.batch_shape)}"
        )
    labels = result.labels or tuple(map(str, range(len(result.active_modes))))
    rule = q.rule
    points = rule.points.expand(len(rule.points), *q.batch_shape, 1).squeeze(-1)
    x, order = points.sort(0)
    mass = rule.probabilities(q.potential).expand_as(points).gather(0, order).cumsum(0)
    ends = [
        x.gather(0, (mass < p).sum(0, keepdim=True).clamp_max(len(x) - 1))
        for p in (OUTSIDE, 1 - OUTSIDE)
    ]
    window = around(Box(ends[0].min().reshape(1), ends[1].max().reshape(1)), q.potential)
    ticks = torch.linspace(float(window.low.min()), float(window.high.max()), HEIGHTS).to(x)
    with torch.no_grad():
        height = q.log_prob(ticks.reshape(-1, 1, 1).expand(-1, len(labels), 1)).exp()
    ax = ax or new_axes()
    modes = result.mode_weights.shape[-1] - (result.background is not None)
    weights, places = result.mode_weights[:, :modes], result.mode_locations[:, :modes, 0]
    marks = [
        (int(i), float(places[i, k]), float(weights[i, k])) for i, k in (weights > 0).nonzero()
    ]
    draw_columns(ax, labels, as_numpy(ticks), as_numpy(height), marks)
    ax.set(ylabel=result.names[0] if result.names else "$x$", xlabel=result.by or "time")
    return ax


def draw_columns(
    ax: Axes,
    labels: tuple[str, ...],
    ticks: np.ndarray,
    height: np.ndarray,
    marks: Iterable[tuple[int, float, float]],
) -> np.ndarray:
    """Densities side by side, with a dot for each mode; the places of the columns.

    Args:
        ax: to draw on.
        labels: of the columns; numbers that increase are times.
        ticks: where the densities are known, (n,).
        height: of the densities, (n, columns).
        marks: column, place and mass of each mode.
    """
    times, numeric = _times(labels)
    share = height / height.max(0)
    shades = ax.pcolormesh(_edges(times), ticks, share[:-1], cmap=SHADES)
    ax.figure.colorbar(shades, ax=ax, label="density, as a share of its maximum")
    shown = [(times[i], at, AREA * mass) for i, at, mass in marks if mass >= LEAST_MASS]
    at, places, areas = zip(*shown, strict=True)
    ax.scatter(at, places, s=areas, color=FIT, edgecolor="white", lw=0.6, zorder=3)
    for part in (1.0, 0.5, 0.1):
        ax.scatter([], [], s=AREA * part, color=FIT, label=f"mode of mass {part:g}")
    if not numeric:
        ax.set_xticks(times, labels)
    legend_below(ax)
    return times


def _times(labels: tuple[str, ...]) -> tuple[np.ndarray, bool]:
    """The labels as increasing numbers, and whether they are such; else their places."""
    try:
        times = np.array([float(label) for label in labels])
    except ValueError:
        times = np.array([math.nan])
    if np.isfinite(times).all() and bool((np.diff(times) > 0).all()):
        return times, True
    return np.arange(len(labels), dtype=float), False


def _edges(times: np.ndarray) -> np.ndarray:
    """Edges of the columns: halfway between the times."""
    if len(times) == 1:
        return times[0] + np.array([-0.5, 0.5])
    middle = (times[1:] + times[:-1]) / 2
    return np.concatenate([[2 * times[0] - middle[0]], middle, [2 * times[-1] - middle[-1]]])
