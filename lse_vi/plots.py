"""Figures of densities, potentials and training: each takes ``ax=None`` and returns its Axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lse_vi.checks import as_data, check_count, check_dim
from lse_vi.density import LSEDensity
from lse_vi.potential import LSEICNN
from lse_vi.support import Box

# The colours of Okabe & Ito (2008), which colour-blind readers tell apart, for modes and curves;
# totals are black, data grey.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
GREY = "#999999"
SHADES = LinearSegmentedColormap.from_list("shades", ("#FFFFFF", "#777777"))
VISIBLE = 0.01  # modes with a smaller share are left out, as in LSEICNN.active_modes
NAMED = 10  # so many modes are named in a legend
FEW = 200  # so many data points are shown one by one besides their histogram


def plot_density(
    density: LSEDensity, data: Any = None, *, ax: Axes | None = None, grid: int = 400
) -> Axes:
    r"""A density in one or two dimensions, with the share and the weight of each mode.

    In one dimension q(x) and the shares r_k(x) q(x) that add up to it, over a histogram of the
    data. In two, q(x) in grey, the peak of each share, and the data in the colour of the mode that
    is most responsible. The window is the density's box, or holds the data and all but 0.1 % of
    each marginal. Modes of weight below 1 % are left out; the heaviest ten are named.

    Args:
        density: q, without batch dimensions.
        data: points (n, dim) or (n,), tensor or array.
        grid: points per axis where q is evaluated.

    Raises:
        ValueError: for a batch of densities, more than two dimensions, or data that do not fit.

    Example:
        >>> from lse_vi import WhitenedICNN
        >>> q = LSEDensity(LSEICNN(1, 2, rho=1.0, network=WhitenedICNN))
        >>> plot_density(q).get_ylabel()
        'density $q(x)$'
    """
    potential = density.potential
    _check_plottable("density", potential.dim, density.batch_shape)
    points = None if data is None else _as_points(data, potential)
    x = _lattice(density.box or _mass_box(density, points), check_count("grid", grid, 2))
    with torch.no_grad():
        q = density.log_prob(x).exp()
        shares = q.unsqueeze(-1) * potential.responsibilities(x)
        weights = density.mode_weights
        peaks = x[shares.argmax(0)]  # (modes, dim)
    colors = _colors(weights)
    named = sorted(colors, key=lambda k: -weights[k])[:NAMED]
    ax = ax or _new_axes()
    if potential.dim == 1:
        if points is not None:
            bins = math.isqrt(2 * len(points))
            ax.hist(_numpy(points), bins=bins, density=True, color="#DDDDDD", label="data")
            if len(points) <= FEW:
                _draw_rug(ax, points)
        ticks, heights = _numpy(x[:, 0]), _numpy(shares)
        for k, color in colors.items():
            label = f"mode {k}, weight {weights[k]:.2f}" if k in named else None
            high = heights[:, k] > 1e-3 * heights.max()
            ax.fill_between(ticks, heights[:, k], where=high, color=color, alpha=0.3, linewidth=0)
            ax.plot(ticks[high], heights[high, k], color=color, label=label)
        ax.plot(ticks, _numpy(q), color="black", linewidth=1, label="density $q$")
        ax.set(xlabel="$x$", ylabel="density $q(x)$", ylim=(0, None))
    else:
        shades = ax.contourf(*_planes(x, q), levels=12, cmap=SHADES)
        ax.figure.colorbar(shades, ax=ax, label="density $q(x)$")
        ax.set(xlabel="$x_1$", ylabel="$x_2$")
        if points is not None:
            with torch.no_grad():
                owners = potential.responsibilities(points).argmax(-1).tolist()
            _scatter(ax, points, s=8, lw=0, c=[colors.get(k, GREY) for k in owners])
            ax.scatter([], [], s=8, lw=0, c=GREY, label="data, in the colour of their mode")
        _scatter(ax, peaks[list(colors)], s=60, marker="X", c=list(colors.values()), edgecolor="k")
        ax.scatter([], [], s=60, marker="X", c="white", edgecolor="k", label="mode: weight")
        halo = [withStroke(linewidth=2, foreground="white")]
        for k in named:
            text, (x1, x2) = f"{k}: {weights[k]:.2f}", peaks[k].tolist()
            ax.annotate(text, (x1, x2), (6, 6), textcoords="offset points", path_effects=halo)
    ax.legend(fontsize="small")
    return ax


def plot_potential(
    potential: LSEICNN,
    *,
    bounds: Any = None,
    data: Any = None,
    ax: Axes | None = None,
    grid: int = 400,
) -> Axes:
    r"""A potential in one or two dimensions and its minima, over ``bounds`` or around ``data``.

    In one dimension E(x) and, dashed, the modes f_k(x) - log(s_k/K)/rho that it is made of: E(x)
    where mode k alone is responsible, above it elsewhere. In two, contour lines of E. Modes
    responsible for less than 1 % of the window are left out; ten are named.

    Args:
        potential: E, without batch dimensions.
        bounds: (low, high) of the window, each a number or ``dim`` numbers.
        data: points (n, dim) or (n,) to show; without ``bounds`` they set the window.
        grid: points per axis where E is evaluated.

    Raises:
        ValueError: without bounds or varying data, for a batch, or more than two dimensions.

    Example:
        >>> plot_potential(LSEICNN(1, 2), bounds=(-3, 3)).get_ylabel()
        'potential $E(x)$'
    """
    _check_plottable("potential", potential.dim, potential.batch_shape)
    points = None if data is None else _as_points(data, potential)
    if bounds is not None:
        box = Box.of(bounds, potential.dim, potential.alpha)
    elif points is not None and bool((points.amin(0) < points.amax(0)).all()):
        box = _padded(points)
    else:
        came = "neither" if points is None else f"data with ranges {np.ptp(_numpy(points), axis=0)}"
        raise ValueError(
            f"bounds, or data that vary in each coordinate, must set the window, but got {came}"
        )
    x = _lattice(box, check_count("grid", grid, 2))
    with torch.no_grad():
        energy = potential(x)
        gates = potential.log_gates - math.log(potential.modes)
        modes = potential.mode_potentials(x) - gates / potential.rho
        colors = _colors(potential.responsibilities(x).mean(0))
    minima = potential.minima(_lattice(box, 64 if potential.dim == 1 else 12))
    ax = ax or _new_axes()
    if potential.dim == 1:
        if points is not None:
            _draw_rug(ax, points, label="data")
        ax.plot(_numpy(x), _numpy(energy), color="black", lw=1.8, label="potential $E$")
        for i, (k, color) in enumerate(colors.items()):
            label = f"mode {k}" if i < NAMED else None
            ax.plot(_numpy(x), _numpy(modes[:, k]), color=color, ls="--", lw=1.2, label=label)
        where = torch.stack([minima.points[:, 0], minima.energies], dim=-1)
        low, high = energy.min().item(), energy.max().item()
        margin = 0.08 * (high - low)
        ax.set(xlabel="$x$", ylabel="potential $E(x)$", ylim=(low - margin, high + margin))
    else:
        low, high = energy.min().item(), energy.quantile(0.8).item()
        levels = MaxNLocator(16).tick_values(low, high)
        lines = ax.contour(*_planes(x, energy), levels=levels, cmap="viridis", linewidths=1)
        scale = ScalarMappable(lines.norm, lines.cmap)
        ax.figure.colorbar(scale, ax=ax, label="potential $E(x)$")
        ax.set(xlabel="$x_1$", ylabel="$x_2$")
        if points is not None:
            _scatter(ax, points, s=8, lw=0, c=GREY, label="data")
        where = minima.points
    where = where[box.contains(minima.points)]
    _scatter(ax, where, s=50, c="white", edgecolor="k", zorder=3, label="minima of $E$")
    ax.legend(fontsize="small")
    return ax


def plot_history(history: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """Training curves: losses on the left axis, the number of active modes on the right.

    Args:
        history: equally long series by name. ``step`` is the horizontal axis (0, 1, ... without
            it), ``active_modes`` goes to the right axis, all others to the left one, which is
            logarithmic where they are positive and span two decades. NaN means not measured.

    Returns:
        The left Axes.

    Raises:
        ValueError: if there is no series for the left axis, or if lengths differ.

    Example:
        >>> plot_history({"loss": [3.0, 2.0, 1.5], "active_modes": [5, 3, 2]}).get_ylabel()
        'loss'
    """
    series = {name: np.asarray(values, dtype=float) for name, values in history.items()}
    lengths = {name: len(values) for name, values in series.items()}
    curves = {name: y for name, y in series.items() if name not in ("step", "active_modes")}
    if not curves or len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(
            "history must hold at least one curve such as 'loss', and its series must be equally "
            f"long and not empty, but got lengths {lengths}"
        )
    step = series.get("step", np.arange(max(lengths.values())))
    top = ax = ax or _new_axes()
    lines = []
    for i, (name, y) in enumerate(curves.items()):
        measured = ~np.isnan(y)
        if not measured.any():
            continue
        color = COLORS[i % len(COLORS)]
        lines += ax.plot(step[measured], y[measured], color=color, label=_words(name))
    finite = np.concatenate([y[np.isfinite(y)] for y in curves.values()])
    if finite.size and finite.min() > 0 and finite.max() > 100 * finite.min():
        ax.set_yscale("log")
    ax.set(xlabel="step", ylabel=_words(next(iter(curves))))
    if "active_modes" in series:
        measured = ~np.isnan(series["active_modes"])
        modes = series["active_modes"][measured]
        top = ax.twinx()
        lines += top.step(step[measured], modes, where="post", color=GREY, label="active modes")
        top.set(ylabel="active modes", ylim=(0, 1.4 * modes.max(initial=1)))  # room for the legend
        top.yaxis.set_major_locator(MaxNLocator(integer=True))
    top.legend(handles=lines, loc="upper right", fontsize="small")
    return ax


def _check_plottable(name: str, dim: int, batch_shape: Sequence[int]) -> None:
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


def _as_points(data: Any, potential: LSEICNN) -> Tensor:
    points = as_data("data", data).to(potential.alpha)
    check_dim("data", points, potential.dim)
    return points


def _mass_box(density: LSEDensity, points: Tensor | None) -> Box:
    """A box that holds ``points`` and all but 0.1 % of each marginal of ``density``."""
    with torch.no_grad():
        x, order = density.rule.points.sort(0)
        mass = density.rule.probabilities(density.potential)[order].cumsum(0)
    ends = [x.gather(0, (mass < p).sum(0, keepdim=True)) for p in (0.0005, 0.9995)]
    return _padded(torch.cat(ends if points is None else [*ends, points]))


def _padded(points: Tensor) -> Box:
    low, high = points.aminmax(dim=0)
    margin = 0.05 * (high - low)
    return Box(low - margin, high + margin)


def _lattice(box: Box, n: int) -> Tensor:
    """``n`` points per axis of ``box``: (n^dim, dim), the last axis running fastest."""
    ticks = [torch.linspace(0, 1, n).to(box.low)] * len(box.low)
    # lerp, unlike low + t (high - low), never rounds to outside the box
    return torch.lerp(box.low, box.high, torch.cartesian_prod(*ticks).reshape(-1, len(box.low)))


def _planes(x: Tensor, values: Tensor) -> list[np.ndarray]:
    """x_1, x_2 and ``values`` on a lattice, each (n, n), for contours."""
    n = math.isqrt(len(x))
    return [_numpy(part).reshape(n, n) for part in (x[:, 0], x[:, 1], values)]


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()


def _colors(weights: Tensor) -> dict[int, str]:
    """A colour for each mode whose weight shows."""
    visible = (weights >= VISIBLE).nonzero().flatten().tolist()
    return {k: COLORS[i % len(COLORS)] for i, k in enumerate(visible)}


def _scatter(ax: Axes, points: Tensor, **style: Any) -> None:
    """Markers at ``points`` (n, 2)."""
    ax.scatter(_numpy(points[:, 0]), _numpy(points[:, 1]), **style)


def _draw_rug(ax: Axes, points: Tensor, **style: Any) -> None:
    """Ticks at ``points`` (n, 1) on the horizontal axis."""
    x, foot = _numpy(points), np.zeros(len(points))
    ax.plot(x, foot, "|", ms=10, color=GREY, transform=ax.get_xaxis_transform(), **style)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _new_axes() -> Axes:
    return plt.subplots(figsize=(6, 4), layout="constrained")[1]
