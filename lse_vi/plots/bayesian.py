"""Figures of a density's posterior: bands, the number of modes, a posterior-predictive check."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from lse_vi.bayesian.mode_count import ModeCount
from lse_vi.bayesian.result import DensityPosterior, interval
from lse_vi.checks import check_count
from lse_vi.plots.style import BLACK, BLUE, GREY, PALE, SHADES, VERMILLION, new_axes

MARGIN = 0.15  # of the data's range, on each side
LATTICE = {1: 300, 2: 80}  # points per axis


def plot_posterior(
    posterior: DensityPosterior | ModeCount,
    *,
    level: float = 0.9,
    grid: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The posterior of a density in one or two dimensions, over the data.

    In one dimension the posterior mean and the pointwise credible band, over a histogram, and
    above them the peaks of the most probable number with credible intervals of their places. In
    two, the posterior mean in grey, the data, and the peaks.

    Args:
        posterior: from :func:`fit_posterior`, :func:`sample_posterior` or :func:`count_modes`.
        level: of the band and the intervals.
        grid: points per axis; 300 in one dimension and 80 in two by default.

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
        bins = max(10, math.isqrt(2 * len(x)))
        ax.hist(x[:, 0].numpy(), bins=bins, density=True, color=PALE, label="data")
        below, above = interval(q, level)
        ax.fill_between(
            ticks[0], below.numpy(), above.numpy(), color=BLUE, alpha=0.3, lw=0,
            label=f"{level:.0%} band",
        )  # fmt: skip
        ax.plot(ticks[0], q.mean(0), color=BLUE, lw=1.8, label="posterior mean")
        top = 1.08 * max(float(above.max()), ax.get_ylim()[1])
        for i, peak in enumerate(peaks):
            ax.errorbar(
                float(peak.location), top, xerr=_reach(peak.location, peak.location_low,
                peak.location_high), fmt="v", color=VERMILLION, capsize=3,
                label="peaks, with intervals" if i == 0 else None,
            )  # fmt: skip
            ax.annotate(
                f"{peak.mass:.0%}", (float(peak.location), top), (0, 5),
                textcoords="offset points", ha="center", color=VERMILLION,
            )  # fmt: skip
        ax.set(xlabel="$x$", ylabel="density $q(x)$", ylim=(0, 1.15 * top))
    else:
        mean = q.mean(0).reshape(count, count).T
        shades = ax.contourf(*(t.numpy() for t in ticks), mean.numpy(), levels=12, cmap=SHADES)
        ax.figure.colorbar(shades, ax=ax, label="posterior mean of $q(x)$")
        ax.scatter(x[:, 0], x[:, 1], s=8, lw=0, color=BLUE, label="data")
        for i, peak in enumerate(peaks):
            reach = [
                _reach(a, b, c)
                for a, b, c in zip(
                    peak.location, peak.location_low, peak.location_high, strict=True
                )
            ]
            first, second = peak.location.tolist()
            ax.errorbar(
                first, second, xerr=reach[0], yerr=reach[1], fmt="X", color=VERMILLION,
                markeredgecolor="white", capsize=3,
                label="peaks, with intervals" if i == 0 else None,
            )  # fmt: skip
        ax.set(xlabel="$x_1$", ylabel="$x_2$")
    ax.legend(fontsize="small", frameon=False)
    return ax


def plot_mode_count(count: ModeCount, *, ax: Axes | None = None) -> Axes:
    """The probabilities of each number of peaks and, beside them, of parts K.

    Example:
        >>> from lse_vi import count_modes
        >>> count = count_modes(torch.randn(20), modes=2, guide="laplace", progress=False)
        >>> plot_mode_count(count).get_xlabel()
        'number'
    """
    ax = ax or new_axes()
    both = (("peaks of the density", count.probabilities), ("modes $K$", count.part_probabilities))
    for i, (name, probabilities) in enumerate(both):
        places = np.array([m + 0.4 * i - 0.2 for m in probabilities])
        heights = list(probabilities.values())
        ax.bar(places, heights, width=0.36, color=(BLUE, GREY)[i], label=name)
        for place, height in zip(places, heights, strict=True):
            if height >= 0.005:
                ax.annotate(
                    f"{height:.0%}", (place, height), (0, 2), textcoords="offset points",
                    ha="center", fontsize="small",
                )  # fmt: skip
    ax.set(xlabel="number", ylabel="probability given the data")
    ax.set(ylim=(0, 1.3), yticks=np.linspace(0, 1, 6))  # room for the legend
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(fontsize="small", frameon=False)
    return ax


def plot_check(
    posterior: DensityPosterior,
    *,
    axis: int = 0,
    replicates: int = 100,
    level: float = 0.9,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Posterior-predictive check: the data's empirical CDF among those of replicated data.

    Each replicate is as many exact draws from one draw of the density. What is shown is the
    difference from the mean over the replicates: there a misfit is seen that a CDF would hide. Data
    that the model understands stay inside the band at about ``level`` of the points.

    Args:
        axis: which coordinate.
        replicates: number of replicated data sets.
        level: of the pointwise band.

    Raises:
        ValueError: for an axis that the data do not have.

    Example:
        >>> from lse_vi import fit_posterior
        >>> fit = fit_posterior(torch.randn(30), modes=1, draws=50, steps=20, progress=False)
        >>> plot_check(fit, replicates=20).get_xlabel()
        '$x$'
    """
    dim = posterior.model.dim
    if check_count("axis", axis, 0) >= dim:
        raise ValueError(f"axis must be below the {dim} dimensions of the data, but got {axis}")
    x = posterior.model.x[:, axis].sort().values
    new = posterior.predictive(replicates, seed=seed)[..., axis].sort(dim=-1).values
    ticks = torch.linspace(float(x[0]), float(x[-1]), 200)
    steps = _ecdf(new, ticks)
    center = steps.mean(0)
    low, high = interval(steps - center, level)
    ax = ax or new_axes()
    band = f"replicates, {level:.0%} band"
    ax.fill_between(ticks, low, high, color=BLUE, alpha=0.3, lw=0, label=band)
    ax.axhline(0.0, color=GREY, lw=0.8)
    ax.plot(ticks, _ecdf(x.unsqueeze(0), ticks)[0] - center, color=BLACK, lw=1.2, label="data")
    name = "$x$" if dim == 1 else f"$x_{axis + 1}$"
    ax.set(xlabel=name, ylabel="empirical CDF minus its prediction")
    ax.legend()
    return ax


def _ecdf(rows: Tensor, ticks: Tensor) -> Tensor:
    """Shares of sorted ``rows`` (sets, n) up to each of ``ticks``: (sets, ticks)."""
    at = ticks.expand(len(rows), -1).contiguous()
    return torch.searchsorted(rows.contiguous(), at, right=True) / rows.shape[-1]


def _reach(middle: Any, low: Any, high: Any) -> list[list[float]]:
    """Lengths of error bars below and above."""
    return [[max(0.0, float(middle - low))], [max(0.0, float(high - middle))]]
