"""Fig. 12 and 13 of the paper, with the exact landscape beside the learned one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.contour import QuadContourSet

from data_gen import waddington
from data_gen.arrays import FloatArray
from lse_vi import LSEICNN
from lse_vi.landscapes import StationaryPoints
from lse_vi.plots.style import BLACK, BLUE, FIT, GREEN, GREY, ORANGE, STYLE, save

MARKS = {"minimum": "o", "saddle": "X", "maximum": "^"}
TICKS = np.linspace(0.0, 2.5, 161)
LEVELS = np.linspace(0.0, 0.8, 17)  # heights of contour lines and steps of their colours
FLOOR = LinearSegmentedColormap.from_list("floor", ("#D0D0D0", "#FFFFFF"))  # lines show on it


def _plane() -> FloatArray:
    return np.stack(np.meshgrid(TICKS, TICKS), axis=-1)  # (161, 161, 2), x1 along the columns


@plt.rc_context(STYLE)
def landscapes(
    potentials: Sequence[LSEICNN], stationary: Sequence[StationaryPoints], seed: int, path: Path
) -> None:
    """Trajectories and nullclines above, learned landscapes below, for b = 0.1 and b = 1."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 9), sharex=True, sharey=True)
    for column, (b, pot, found) in enumerate(zip((0.1, 1.0), potentials, stationary, strict=True)):
        _portrait(axes[0, column], b, pot, seed)
        shades = _landscape(axes[1, column], b, pot, found)
    figure.colorbar(  # takes its room from both rows alike, so that their panels stay in line
        shades, ax=axes, label=r"learned $\Xi$ above its lowest point", shrink=0.45, format="%.1f",
        anchor=(0, 0), ticks=LEVELS[::4],
    )  # fmt: skip
    for ax in axes[1]:
        ax.set_xlabel("expression $x_1$")
    for ax in axes[:, 0]:
        ax.set_ylabel("expression $x_2$")
    handles = [h for ax in (axes[0, 0], axes[1, 1]) for h in ax.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    save(figure, path)


def _portrait(ax: Axes, b: float, pot: LSEICNN, seed: int) -> None:
    paths = waddington.trajectories(b, np.linspace(0, 12, 241), 25, seed)
    ax.plot(*paths.transpose(2, 0, 1), color=GREY, lw=0.7)
    ax.plot(*paths[0].T, ".", color=GREY, ms=4, clip_on=False)
    ax.plot([], [], ".-", color=GREY, lw=0.7, ms=4, label="exact trajectories and their starts")
    plane = _plane()
    exact = waddington.gradient(plane, b)
    learned = pot.gradient(torch.as_tensor(plane)).numpy()
    dotted: dict[str, Any] = {"colors": BLACK, "linewidths": 1.2, "linestyles": "--"}
    for axis, color in enumerate((BLUE, ORANGE)):
        ax.contour(TICKS, TICKS, learned[..., axis], [0.0], colors=color, linewidths=3.5)
        ax.contour(TICKS, TICKS, exact[..., axis], [0.0], **dotted)
        ax.plot([], [], color=color, lw=3.5, label=rf"$\dot x_{axis + 1} = 0$, learned")
    ax.plot([], [], color=BLACK, lw=1.2, ls="--", label="exact, of every kind")
    ax.set(title=f"flow and nullclines, b = {b:g}", xlim=(0, 2.5), ylim=(0, 2.5), aspect="equal")


def _landscape(ax: Axes, b: float, pot: LSEICNN, found: StationaryPoints) -> QuadContourSet:
    """The learned energy above its lowest point, exact levels over it."""
    plane = _plane()
    learned = pot(torch.as_tensor(plane)).numpy()
    learned = learned - learned.min()  # the offset is free
    exact = waddington.potential(plane, b)
    exact = exact - exact.min()
    shades = ax.contourf(TICKS, TICKS, learned, LEVELS, cmap=FLOOR, extend="max")
    ax.contour(TICKS, TICKS, learned, LEVELS[1:], colors=FIT, linewidths=1.8)
    ax.contour(TICKS, TICKS, exact, LEVELS[1:], colors=BLACK, linewidths=0.8, linestyles="--")
    ax.plot([], [], color=FIT, lw=1.8, label=r"learned $\Xi$, each step of the colours")
    truth = waddington.ONE_WELL if b == 0.1 else waddington.TWO_WELLS
    for kind in dict.fromkeys(found.kinds):
        mine = found.points[[k == kind for k in found.kinds]].numpy()
        ax.plot(
            *mine.T, MARKS[kind], color="white", mec=FIT, mew=1.5, ms=10, label=f"{kind}, learned"
        )
        true = np.array([point.location for point in truth.stationary_points if point.kind == kind])
        ax.plot(*true.T, "+", color=BLACK, ms=9, mew=1.5)
    ax.plot([], [], "+", color=BLACK, ms=9, mew=1.5, label="stationary points, exact")
    ax.set(title=f"learned landscape, b = {b:g}", aspect="equal")
    return shades


@plt.rc_context(STYLE)
def transient(
    times: FloatArray, learned: FloatArray, exact: FloatArray, split: float, path: Path
) -> None:
    """Paths on the landscape that turns from one well to two: in the plane, and over time.

    Args:
        times: (times,).
        learned, exact: paths from the same starts, (times, n, 2).
        split: when the learned landscape gets its second well.
        path: where the PNG goes.
    """
    figure, axes = plt.subplot_mosaic(
        [["plane", "time"], ["plane", "weight"]], figsize=(11, 5.6), height_ratios=[3, 1]
    )
    left, right, share = axes["plane"], axes["time"], axes["weight"]
    wide: dict[str, Any] = {"color": FIT, "lw": 3, "solid_capstyle": "butt"}
    left.plot(*learned.transpose(2, 0, 1), **wide)
    left.plot(*exact.transpose(2, 0, 1), color=BLACK, lw=0.7)
    left.plot(*learned[0].T, "o", color="white", mec=FIT, ms=5, clip_on=False, label="starts")
    left.plot([0, 2.5], [0, 2.5], color=GREY, lw=1.2, ls=":", label="$x_1 = x_2$")
    left.set(
        xlabel="expression $x_1$", ylabel="expression $x_2$", xlim=(0, 2.5), ylim=(0, 2.5),
        aspect="equal", title="paths while one well turns into two",
    )  # fmt: skip
    right.plot(times, learned[..., 0] - learned[..., 1], **wide)
    right.plot(times, exact[..., 0] - exact[..., 1], color=BLACK, lw=0.7)
    right.plot([], [], **wide, label="paths, learned")
    right.plot([], [], color=BLACK, lw=0.7, label="paths, exact")
    for ax in (right, share):
        ax.axvline(split, color=FIT, lw=2.2, ls="--", label="split, learned")
        ax.axvline(waddington.SPLIT_TIME, color=BLACK, lw=0.9, ls="--", label="split, exact")
        ax.set_xlim(times[0], times[-1])
    right.set(ylabel="$x_1 - x_2$", title="the cells choose a side")
    right.tick_params(labelbottom=False)
    share.plot(times, waddington.blend(times), color=GREEN, lw=1.8, label="weight of b = 1")
    share.set(ylim=(-0.05, 1.05), ylabel="weight of b = 1", xlabel="time $t$")
    named: dict[str, Any] = {}
    for ax in (right, left, share):
        named |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(named.values(), named, loc="outside lower center", ncols=4)
    save(figure, path)
