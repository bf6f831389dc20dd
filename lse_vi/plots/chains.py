"""Chains of a sampler, coloured by the modes that a guide has found."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lse_vi.guides.result import GuideResult
from lse_vi.plots.guides import MANY, mode_color, variables
from lse_vi.plots.style import NAMED, STYLE
from lse_vi.signatures.checked import checked

MOST_CHAINS = 24  # in one figure: with more, their bars are too thin to read


@checked
def plot_chains(
    result: GuideResult, values: Mapping[str, Tensor], *, variable: str | None = None
) -> Figure:
    """Chains of NUTS, say, by mode: one variable along the chains, and the time spent in each mode.

    Use it where chains disagree (R-hat): it shows which modes each chain met and whether it ever
    left them, and how much mass each mode has by the guide. Chains that stay in one mode say
    nothing of its weight.

    Args:
        result: of :func:`~lse_vi.fit_guide`, for the modes and their weights.
        values: of every latent site, (chain, draw, *shape), such as
            ``mcmc.get_samples(group_by_chain=True)``.
        variable: an entry of a site, such as ``"mean[0]"``; by default the one in which the modes
            are furthest apart, in standard deviations of all draws.

    Returns:
        The figure.

    Raises:
        ValueError: if a site is missing or of another shape, if there are no chains or more than
            24, or for a variable that there is not.

    Example:
        >>> import torch, pyro, pyro.distributions as dist
        >>> from lse_vi import AutoLSEICNN, fit_guide
        >>> def model():
        ...     x = pyro.sample("x", dist.Normal(0.0, 3.0))
        ...     pyro.sample("y", dist.Normal(x.abs(), 0.5), obs=torch.tensor(3.0))
        >>> res = fit_guide(model, AutoLSEICNN(model), progress=False)
        >>> chains = {"x": torch.tensor([[2.9, 3.1, 3.0], [-3.2, -2.8, 3.0]])}
        >>> plot_chains(res, chains).axes[0].get_ylabel()
        'x'
    """
    mode = result.mode_of(values).cpu().numpy()
    if mode.ndim != 2 or not 0 < len(mode) <= MOST_CHAINS or not mode.shape[1]:
        raise ValueError(
            f"values must hold 1 to {MOST_CHAINS} chains as (chain, draw, *shape) for each site, "
            f"as by mcmc.get_samples(group_by_chain=True), but hold draws of shape {mode.shape}"
        )
    names = list(result.mode_locations)
    columns = variables({name: values[name].flatten(0, 1) for name in names})
    peaks = variables({name: result.mode_locations[name] for name in names})
    if variable is None:
        variable = max(columns, key=lambda name: np.ptp(peaks[name]) / (columns[name].std() or 1.0))
    elif variable not in columns:
        raise ValueError(f"variable must be one of {list(columns)}, but got {variable!r}")
    with plt.rc_context(STYLE):
        figure, (trace, bars) = plt.subplots(
            1, 2, figsize=(8, 2.6 + 0.15 * len(mode)), width_ratios=(2, 1)
        )
    _trace(trace, columns[variable].reshape(mode.shape), mode)
    trace.set_ylabel(variable)
    shares = [np.bincount(row, minlength=len(result.mode_weights)) / len(row) for row in mode]
    _bars(bars, np.array([result.mode_weights.cpu().numpy(), *shares]))
    figure.legend(loc="outside lower center", ncols=5, fontsize="small", frameon=False)
    return figure


def _trace(ax: Axes, value: np.ndarray, mode: np.ndarray) -> None:
    """The chains one after the other, (chain, draw)."""
    chains, draws = mode.shape
    colors = np.array([mode_color(k) for k in range(mode.max() + 1)])
    place = np.arange(mode.size)
    many = mode.size > MANY
    ax.scatter(place, value.ravel(), s=4, lw=0, c=colors[mode.ravel()], rasterized=many)
    for k in range(1, chains):
        ax.axvline(k * draws - 0.5, color="black", lw=0.6)
    step = -(-chains // 8)  # every so many chains have a number, so that numbers do not overlap
    ax.set_xticks((np.arange(0, chains, step) + 0.5) * draws, np.arange(0, chains, step))
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.5, mode.size - 0.5)
    ax.set_xlabel(f"chain ({draws:,} draws each)")


def _bars(ax: Axes, shares: np.ndarray) -> None:
    """Shares of the modes, (1 + chains, modes), the first by the guide."""
    rows, left = np.arange(len(shares)), np.zeros(len(shares))
    for k, part in enumerate(shares.T):
        name = f"mode {k}" if k < NAMED else None
        ax.barh(rows, part, left=left, color=mode_color(k), edgecolor="white", lw=0.5, label=name)
        left = left + part
    ax.set_yticks(rows, ["guide", *(f"chain {k}" for k in range(len(shares) - 1))])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of the draws")
