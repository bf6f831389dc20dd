"""Figures of fits: training histories, and predictions against the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lse_vi.checks import shown
from lse_vi.numerics.arrays import as_floats
from lse_vi.plots.style import BLACK, COLORS, legend_below, new_axes, second_axis
from lse_vi.signatures.checked import checked

MANY = 5000  # more points than this are drawn as an image: as vectors they make files of megabytes
CROWDED = 500  # more points than this per series get smaller markers
LOG_RANGE = 100  # a loss axis is logarithmic where the losses span more than this factor
ASIDE = ("step", "active_modes", "rho", "gates", "shares")  # series of a history that are no losses


@checked
def plot_history(history: Any, *, ax: Axes | None = None) -> Axes:
    """Training curves: losses on the left axis, the number of active modes on the right.

    Use it to see whether a fit has converged.

    Args:
        history: the result of any fit of this library, or equally long series by name. ``step`` is
            the horizontal axis (0, 1, ... without it), and ``active_modes`` has the right axis;
            ``rho``, ``gates`` and ``shares`` are left out. All other series are losses on the left
            axis, which is logarithmic if they are positive and span two decades. NaN means not
            measured.
        ax: axes to draw on; a new figure by default.

    Returns:
        The left axes.

    Raises:
        ValueError: if there is no series for the left axis, if lengths differ, or for the history
            of a batch of fits.

    Example:
        >>> plot_history({"loss": [3.0, 2.0, 1.5], "active_modes": [5, 3, 2]}).get_ylabel()
        'loss'
    """
    history = getattr(history, "history", history)
    if not isinstance(history, Mapping):
        raise TypeError(f"history must be a result or a mapping, but got {shown(history)}")
    lengths = {name: len(y) if hasattr(y, "__len__") else 0 for name, y in history.items()}
    curves = {
        name: _numbers(f"history[{name!r}]", y) for name, y in history.items() if name not in ASIDE
    }
    if not curves or len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(
            "history must hold at least one curve such as 'loss', and its series must be equally "
            f"long and not empty, but got lengths {lengths}"
        )
    if any(y.ndim > 1 for y in curves.values()):
        raise ValueError(
            "history must be that of one fit, but its entries are lists over a batch; "
            "give that of result.select(index)"
        )
    step = np.asarray(history.get("step", range(max(lengths.values()))), dtype=float)
    top = ax = ax or new_axes()
    lines = []
    for i, (name, y) in enumerate(curves.items()):
        measured = ~np.isnan(y)
        if not measured.any():
            continue
        color = COLORS[i % len(COLORS)]
        lines += ax.plot(step[measured], y[measured], color=color, label=_words(name))
    finite = np.concatenate([y[np.isfinite(y)] for y in curves.values()])
    if finite.size and finite.min() > 0 and finite.max() > LOG_RANGE * finite.min():
        ax.set_yscale("log")
    ax.set(xlabel="step", ylabel=_words(next(iter(curves))))
    if "active_modes" in history:
        count = np.asarray(history["active_modes"], dtype=float)
        measured = ~np.isnan(count)
        modes = count[measured]
        top, color = second_axis(ax), COLORS[len(curves) % len(COLORS)]
        lines += top.step(step[measured], modes, where="post", color=color, label="active modes")
        top.set_ylabel("active modes", color=color)
        top.set_ylim(0, 1.1 * modes.max(initial=1))
        top.tick_params(axis="y", colors=color)
        top.yaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(top, columns=3, handles=lines)
    return ax


@checked
def plot_parity(
    exact: Any,
    predicted: Any,
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Predictions against exact values, with the R2 of each series in the legend.

    Use it to judge a fit on data that it has not seen: points on the diagonal are predicted right.
    R2 = 1 - mean((predicted - exact)^2) / var(exact).

    Args:
        exact: (n,), or (n, series) for several series, each in its own colour.
        predicted: of the same shape.
        labels: names of the series.
        ax: axes to draw on; a new figure by default. Both axes get the same range.

    Returns:
        The axes.

    Raises:
        ValueError: if shapes or labels disagree, if an entry is not finite, or if an exact series
            does not vary, as it then has no R2.

    Example:
        >>> ax = plot_parity([1.0, 2.0, 3.0], [1.1, 1.9, 3.0])
        >>> ax.get_legend().get_texts()[0].get_text()
        '$R^2$ = 0.990'
    """
    truth, guess = _series("exact", exact), _series("predicted", predicted)
    if truth.shape != guess.shape:
        raise ValueError(
            f"predicted must have the shape of exact, {truth.shape}, but got {guess.shape}"
        )
    if labels is not None and len(labels) != truth.shape[1]:
        raise ValueError(f"labels must name {truth.shape[1]} series, but got {list(labels)}")
    spread = truth.var(0)
    if not spread.all():
        raise ValueError("exact must vary in each series, but one has a single value")
    r2 = 1 - ((guess - truth) ** 2).mean(0) / spread
    ax = ax or new_axes()
    both = np.concatenate([truth, guess])
    margin = 0.03 * np.ptp(both)
    ends = (both.min() - margin, both.max() + margin)
    size = 9.0 if len(truth) > CROWDED else 25.0
    names = [f"{label}, " for label in labels] if labels is not None else [""] * len(r2)
    for j, name in enumerate(names):
        color, label = COLORS[j % len(COLORS)], f"{name}$R^2$ = {_brief(r2[j])}"
        ax.scatter([], [], s=25, lw=0, color=color, label=label)
    # In random order, or the last series would cover the others.
    order = np.random.default_rng(0).permutation(truth.size)
    colors = np.resize(COLORS, truth.shape[1])[order % truth.shape[1]]
    dots: dict[str, Any] = {"s": size, "lw": 0, "rasterized": truth.size > MANY}
    ax.scatter(truth.ravel()[order], guess.ravel()[order], c=colors, **dots)
    ax.plot(ends, ends, color=BLACK, lw=0.8, zorder=0, label="predicted = exact")
    ax.set(xlabel="exact", ylabel="predicted", xlim=ends, ylim=ends, box_aspect=1)
    legend_below(ax, columns=1)
    return ax


def _numbers(name: str, values: Any) -> np.ndarray:
    """``values`` as floats."""
    return as_floats(name, values).double().cpu().numpy()


def _series(name: str, values: Any) -> np.ndarray:
    """``values`` as an array (n, series); they must be finite and not empty."""
    array = _numbers(name, values)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"{name} must have shape (n,) or (n, series), but got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, but holds {array[~np.isfinite(array)][0]}")
    return array.reshape(len(array), -1)


def _brief(r2: float) -> str:
    """``r2`` with two to six decimals: as many as show its difference from one."""
    digits = 2 if r2 >= 1 or r2 < 0 else int(np.clip(2 - np.log10(1 - r2), 2, 6))
    return f"{r2:.{digits}f}"


def _words(name: str) -> str:
    """The name of a series as a label."""
    return name.replace("_", " ")
