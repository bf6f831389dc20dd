"""Figures of a fitted guide: its draws by mode, and the weights of the modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lse_vi.checks import check_count
from lse_vi.fitting.random_state import seeded
from lse_vi.guides.result import GuideResult
from lse_vi.plots.style import COLORS, GREY, NAMED, STYLE, legend_below, new_axes
from lse_vi.signatures.checked import checked

MANY = 5000  # more draws than this are drawn as an image: as vectors they make large files
MOST = 8  # scalar variables in a pairs plot: with more, its panels are too small to read


@checked
def plot_pairs(
    result: GuideResult, *, sites: Sequence[str] | None = None, draws: int = 1000, seed: int = 0
) -> Figure:
    """Draws of a guide, each pair of variables against each other, coloured by mode.

    Use it to see where the modes of a posterior are and how variables depend on each other.
    Histograms are on the diagonal, the weights of the modes in the corner. The variables are the
    entries of the model's sites, in the units of the model.

    Args:
        result: of :func:`~lse_vi.fit_guide`.
        sites: names of the sites to show; by default the first eight variables of the model.
        draws: number of draws.
        seed: of the draws.

    Returns:
        The figure.

    Raises:
        ValueError: if the model lacks a site, or if the sites have more than eight variables.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> from lse_vi import AutoLSEICNN, fit_guide
        >>> def model(y):
        ...     x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        ...     pyro.sample("y", dist.Normal(x, 1.0).to_event(1), obs=y)
        >>> few = {"steps": 20, "samples": 128, "progress": False}
        >>> res = fit_guide(model, AutoLSEICNN(model, modes=1), torch.ones(2), **few)
        >>> [ax.get_xlabel() for ax in plot_pairs(res).axes[-2:]]
        ['x[0]', 'x[1]']
    """
    check_count("draws", draws, 2)
    with seeded(seed), torch.no_grad():
        z = result.guide.get_posterior().sample((draws,))
        values = result.guide.values(z)
    for name in sites or ():
        if name not in values:
            raise ValueError(f"sites: the model has {sorted(values)}, but not {name!r}")
    entries = variables({name: values[name] for name in sites or values})
    labels, columns = list(entries), list(entries.values())
    if sites and len(labels) > MOST:
        raise ValueError(f"sites: at most {MOST} variables fit in a figure, but got {len(labels)}")
    labels, columns = labels[:MOST], columns[:MOST]
    mode = result.mode_of(z).cpu().numpy()
    own = [mode == k for k in range(len(result.mode_weights))]
    count, colors = len(labels), [mode_color(k) for k in range(len(own))]
    size, many = 1.6 * count + 1, draws > MANY
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(count, count, figsize=(size, size), squeeze=False, sharex="col")
    for (i, j), ax in np.ndenumerate(axes):
        if j > i:
            ax.set_axis_off()
        elif i == j:
            ax.hist([columns[i][part] for part in own], bins=30, stacked=True, color=colors)
            ax.yaxis.tick_right()
            ax.yaxis.set_label_position("right")
            ax.set_ylabel("draws, stacked")
            ax.spines["right"].set_visible(True)
            ax.spines["left"].set_visible(False)
        else:  # in the order of the draws: no mode is on top
            ax.scatter(columns[j], columns[i], s=4, lw=0, c=np.take(colors, mode), rasterized=many)
        if i == count - 1:
            ax.set_xlabel(labels[j])
        if j == 0 and i > 0:
            ax.set_ylabel(labels[i])
    if count > 1:
        weights = result.mode_weights.tolist()[:NAMED]
        names = [f"mode {k}, weight {weight:.2f}" for k, weight in enumerate(weights)]
        marks = [Line2D([], [], marker="o", ls="", color=color) for color in colors]
        place = {"loc": "upper right", "bbox_to_anchor": (0.98, 0.98)}
        figure.legend(marks[:NAMED], names, fontsize="small", frameon=False, **place)
    return figure


@checked
def plot_mode_weights(result: GuideResult, *, ax: Axes | None = None) -> Axes:
    """The share of the mass of every mode, in the colours of :func:`plot_pairs`.

    Use it to see whether the guide missed a mode: missed modes are empty bars, with their share by
    Laplace's approximation.

    Args:
        result: of :func:`~lse_vi.fit_guide`.
        ax: axes to draw on; a new figure by default.

    Returns:
        The axes.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> from lse_vi import AutoLSEICNN, fit_guide
        >>> def model(y):
        ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
        ...     pyro.sample("y", dist.Normal(x, 1.0), obs=y)
        >>> few = {"steps": 20, "samples": 128, "progress": False}
        >>> res = fit_guide(model, AutoLSEICNN(model, modes=1), torch.ones(()), **few)
        >>> plot_mode_weights(res).get_ylabel()
        'share of the mass'
    """
    ax = ax or new_axes()
    missed = result.missed.share.cpu().numpy()
    weights = result.mode_weights.cpu().numpy() * (1 - missed.sum())
    count = len(weights)
    bars = ax.bar(range(count), weights, color=[mode_color(k) for k in range(count)])
    ax.bar_label(bars, fmt="{:.1%}", fontsize="small")
    if len(missed):
        places, name = range(count, count + len(missed)), "found outside the guide (estimate)"
        bars = ax.bar(places, missed, color="none", edgecolor=GREY, linestyle="--", label=name)
        ax.bar_label(bars, fmt="{:.1%}", fontsize="small")
        legend_below(ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("mode")
    ax.set_ylabel("share of the mass")
    return ax


def variables(values: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Draws (n,) of each entry of sites, each (n, *shape), by names such as ``"mean[0]"``."""
    found = {}
    for name, value in values.items():
        flat = value.reshape(len(value), -1).cpu().numpy()
        for column, at in zip(flat.T, np.ndindex(*value.shape[1:]), strict=True):
            found[name + (f"[{', '.join(map(str, at))}]" if at else "")] = column
    return found


def mode_color(mode: int) -> str:
    """The colour of a mode, counted from the heaviest; modes without a colour are grey."""
    return COLORS[mode] if mode < min(NAMED, len(COLORS)) else GREY
