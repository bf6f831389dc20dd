"""Figures of a density's posterior: bands, the number of modes, a posterior predictive check."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from lse_vi.bayesian.mode_count import ModeCount
from lse_vi.bayesian.result import DensityPosterior, PeakSummary, interval
from lse_vi.checks import check_count
from lse_vi.plots.style import (
    BLUE,
    FIT,
    GREY,
    SHADES,
    VIOLET,
    draw_band,
    draw_histogram,
    legend_below,
    new_axes,
)
from lse_vi.signatures.checked import checked

MARGIN = 0.15  # on each side, as a share of the data's range: the density goes on beyond the data
LATTICE = {1: 300, 2: 80}  # points per axis by dimension: every draw is evaluated at all of them
CHECK_POINTS = 200  # of the curves of a posterior predictive check: enough to look smooth
LEAST_LABEL = 0.005  # probability from which on a bar is labelled: less is 0 % when rounded


@checked
def plot_posterior(
    posterior: DensityPosterior | ModeCount,
    *,
    level: float = 0.9,
    grid: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The posterior of a density in one or two dimensions, over the data.

    Use it to see how sure the density and the places of its peaks are.

    In one dimension the figure shows the posterior mean and the pointwise credible band over a
    histogram of the data. Above them are the peaks, for their most probable number, with credible
    intervals of their places. In two dimensions it shows the posterior mean in grey, the data, and
    the peaks.

    Args:
        posterior: from :func:`~lse_vi.fit_posterior`, :func:`~lse_vi.sample_posterior` or
            :func:`~lse_vi.count_modes`.
        level: probability of the band and the intervals, between 0 and 1.
        grid: points per axis; 300 in one dimension and 80 in two by default.
        ax: axes to draw on; a new figure by default.

    Returns:
        The axes.

    Raises:
        ValueError: in three dimensions.

    Example:
        >>> from lse_vi import fit_posterior
        >>> fit = fit_posterior(torch.randn(30), modes=1, draws=50, steps=20, progress=False)
        >>> plot_posterior(fit).get_ylabel()
        'density $q(x)$'
    """
    one = posterior.best if isinstance(posterior, ModeCount) else posterior
    x, dim = one.model.x, one.model.dim
    if dim > 2:
        raise ValueError(f"posterior must be of 1 or 2 dimensions to be plotted, but has {dim}")
    low, high = x.amin(0), x.amax(0)
    low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
    count = LATTICE[dim] if grid is None else check_count("grid", grid, 2)
    ticks = [torch.linspace(float(a), float(b), count) for a, b in zip(low, high, strict=True)]
    points = torch.cartesian_prod(*ticks).reshape(-1, dim)
    q = posterior.density(points)
    ax = ax or new_axes()
    peaks = one.peak_table(level)
    if dim == 1:
        _draw_curve(ax, x, one.model.weights, ticks[0], q, peaks, level)
    else:
        _draw_plane(ax, x, ticks, q, peaks)
    legend_below(ax)
    ax.set(**dict(zip(("xlabel", "ylabel")[:dim], one.names, strict=False)))
    return ax


@checked
def plot_mode_count(count: ModeCount, *, ax: Axes | None = None) -> Axes:
    """The probability of each number of peaks and, beside it, of each number of parts K.

    Use it to see how sure the number of modes is.

    Args:
        count: from :func:`~lse_vi.count_modes`.
        ax: axes to draw on; a new figure by default.

    Returns:
        The axes.

    Example:
        >>> from lse_vi import count_modes
        >>> count = count_modes(torch.randn(20), modes=2, guide="laplace", progress=False)
        >>> plot_mode_count(count).get_xlabel()
        'number'
    """
    ax = ax or new_axes()
    text: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": "small"}
    both = (("peaks of the density", count.probabilities), ("modes $K$", count.part_probabilities))
    for i, (name, probabilities) in enumerate(both):
        places = np.array([m + 0.4 * i - 0.2 for m in probabilities])
        heights = list(probabilities.values())
        ax.bar(places, heights, width=0.36, color=(FIT, BLUE)[i], label=name)
        for place, height in zip(places, heights, strict=True):
            if height >= LEAST_LABEL:
                # Without a sign of its own, or labels of narrow bars would touch each other.
                ax.annotate(f"{100 * height:.0f}", (place, height), (0, 2), **text)
    ax.set(xlabel="number", ylabel="probability given the data (%)")
    ax.set(ylim=(0, 1.08), yticks=np.linspace(0, 1, 6))  # room for the labels
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    legend_below(ax)
    return ax


@checked
def plot_check(
    posterior: DensityPosterior,
    *,
    axis: int = 0,
    replicates: int = 100,
    level: float = 0.9,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Posterior predictive check: the data's empirical CDF among those of replicated data.

    Use it before you trust a posterior: do data drawn from the model look like yours?

    A replicate has as many points as the data, drawn exactly from one draw of the density. The
    figure shows differences from the mean CDF of the replicates, as a misfit is hard to see in a
    CDF itself. If the model fits, the data stay inside the band at about ``level`` of the points.

    Args:
        posterior: from :func:`~lse_vi.fit_posterior` or :func:`~lse_vi.sample_posterior`.
        axis: index of the coordinate to check.
        replicates: number of replicated data sets.
        level: probability of the pointwise band, between 0 and 1.
        seed: of the replicates.
        ax: axes to draw on; a new figure by default.

    Returns:
        The axes.

    Raises:
        ValueError: if the data have no such axis.

    Example:
        >>> from lse_vi import fit_posterior
        >>> fit = fit_posterior(torch.randn(30), modes=1, draws=50, steps=20, progress=False)
        >>> plot_check(fit, replicates=20).get_xlabel()
        '$x$'
    """
    check_count("replicates", replicates)
    dim = posterior.model.dim
    if check_count("axis", axis, 0) >= dim:
        raise ValueError(f"axis must be below the {dim} dimensions of the data, but got {axis}")
    x, order = posterior.model.x[:, axis].sort()
    share = posterior.model.weights[order].cumsum(0) / posterior.model.points
    new = posterior.predictive(replicates, seed=seed)[..., axis].sort(dim=-1).values
    ticks = torch.linspace(float(x[0]), float(x[-1]), CHECK_POINTS)
    steps = _ecdf(new, ticks)
    center = steps.mean(0)
    low, high = interval(steps - center, level)
    ax = ax or new_axes()
    band = f"replicates, {level:.0%} band"
    draw_band(ax, ticks, low, high, FIT, band)
    ax.axhline(0.0, color=FIT, lw=1.2, label="mean of the replicates")
    below = torch.searchsorted(x.contiguous(), ticks, right=True)
    ax.plot(
        ticks,
        torch.nn.functional.pad(share, (1, 0))[below] - center,
        color=GREY,
        lw=1.2,
        label="data",
    )
    name = "$x$" if dim == 1 else f"$x_{axis + 1}$"
    ax.set(xlabel=name, ylabel="empirical CDF minus its prediction")
    legend_below(ax)
    return ax


def _draw_curve(
    ax: Axes,
    x: Tensor,
    weights: Tensor,
    ticks: Tensor,
    q: Tensor,
    peaks: Sequence[PeakSummary],
    level: float,
) -> None:
    """Mean and band of ``q`` (draws, ticks) over a histogram of the data ``x``; the peaks above."""
    bins = max(10, math.isqrt(2 * len(x)))
    worth = weights.numpy()
    draw_histogram(ax, x[:, 0].numpy(), bins, weights=worth, density=True)
    below, above = interval(q, level)
    draw_band(ax, ticks, below.numpy(), above.numpy(), FIT, f"{level:.0%} band")
    ax.plot(ticks, q.mean(0), color=FIT, lw=1.8, label="posterior mean")
    top = 1.08 * max(float(above.max()), ax.get_ylim()[1])  # height of the peaks, above the band
    text: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "color": VIOLET}
    for i, peak in enumerate(peaks):
        place = float(peak.location)
        reach = _reach(peak.location, peak.location_low, peak.location_high)
        ax.errorbar(
            place, top, xerr=reach, fmt="|", ms=9, **_peak_style(i, "peaks: mass, interval")
        )
        ax.annotate(f"{peak.mass:.0%}", (place, top), (0, 5), **text)
    ax.set(xlabel="$x$", ylabel="density $q(x)$", ylim=(0, 1.15 * top))


def _draw_plane(
    ax: Axes, x: Tensor, ticks: Sequence[Tensor], q: Tensor, peaks: Sequence[PeakSummary]
) -> None:
    """Mean of ``q`` (draws, points of the lattice of ``ticks``), the data ``x`` and the peaks."""
    mean = q.mean(0).reshape(len(ticks[0]), len(ticks[1])).T
    shades = ax.contourf(*(t.numpy() for t in ticks), mean.numpy(), levels=12, cmap=SHADES)
    ax.figure.colorbar(shades, ax=ax, label="posterior mean of $q(x)$")
    ax.scatter(x[:, 0], x[:, 1], s=12, lw=0.3, ec="white", color=GREY, label="data")
    for i, peak in enumerate(peaks):
        ends = zip(peak.location, peak.location_low, peak.location_high, strict=True)
        across, along = [_reach(*end) for end in ends]
        first, second = peak.location.tolist()
        marks = {"fmt": "X", "markeredgecolor": "white", **_peak_style(i, "peaks, with intervals")}
        ax.errorbar(first, second, xerr=across, yerr=along, capsize=3, **marks)
    ax.set(xlabel="$x_1$", ylabel="$x_2$")


def _peak_style(i: int, label: str) -> dict[str, Any]:
    """The look of peak ``i`` and its intervals; only the first is named in the legend."""
    return {"color": VIOLET, "label": label if i == 0 else None}


def _ecdf(rows: Tensor, ticks: Tensor) -> Tensor:
    """Empirical CDFs of sorted ``rows`` (sets, n) at ``ticks``: (sets, ticks)."""
    at = ticks.expand(len(rows), -1).contiguous()
    return torch.searchsorted(rows.contiguous(), at, right=True) / rows.shape[-1]


def _reach(middle: Any, low: Any, high: Any) -> list[list[float]]:
    """Lengths of the error bar below and above ``middle``, as Matplotlib takes them."""
    return [[max(0.0, float(middle - low))], [max(0.0, float(high - middle))]]
