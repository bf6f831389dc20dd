"""Fig. 12 and 13 of the paper, with the exact landscape beside the learned one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet

from data_gen import waddington
from data_gen.arrays import FloatArray
from lse_vi import LSEICNN
from lse_vi.landscapes import StationaryPoints
from lse_vi.plots.style import BLACK, BLUE, GREEN, GREY, STYLE, VERMILLION, second_axis

MARKS = {"minimum": "o", "saddle": "X", "maximum": "^"}
TICKS = np.linspace(0.0, 2.5, 161)


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
        anchor=(0, 0), ticks=np.arange(0, 3.5, 0.5),
    )  # fmt: skip
    for ax in axes[1]:
        ax.set_xlabel("expression $x_1$")
    for ax in axes[:, 0]:
        ax.set_ylabel("expression $x_2$")
    handles = [h for ax in (axes[0, 0], axes[1, 1]) for h in ax.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    figure.savefig(path)
    plt.close(figure)


def _portrait(ax: Axes, b: float, pot: LSEICNN, seed: int) -> None:
    paths = waddington.trajectories(b, np.linspace(0, 12, 241), 25, seed)
    ax.plot(*paths.transpose(2, 0, 1), color=GREY, lw=0.7)
    ax.plot(*paths[0].T, ".", color=GREY, ms=4)
    ax.plot([], [], ".-", color=GREY, lw=0.7, ms=4, label="exact trajectories and their starts")
    plane = _plane()
    exact = waddington.gradient(plane, b)
    learned = pot.gradient(torch.as_tensor(plane)).numpy()
    for axis, color in enumerate((BLUE, VERMILLION)):
        ax.contour(TICKS, TICKS, exact[..., axis], [0.0], colors=color, linewidths=3.5, alpha=0.35)
        ax.contour(TICKS, TICKS, learned[..., axis], [0.0], colors=color, linewidths=1.2)
        name = rf"$\dot x_{axis + 1} = 0$"
        ax.plot([], [], color=color, lw=3.5, alpha=0.35, label=f"{name}, exact")
        ax.plot([], [], color=color, lw=1.2, label=f"{name}, learned")
    ax.set(title=f"flow and nullclines, b = {b:g}", xlim=(0, 2.5), ylim=(0, 2.5), aspect="equal")


def _landscape(ax: Axes, b: float, pot: LSEICNN, found: StationaryPoints) -> QuadContourSet:
    """The learned energy above its lowest point, exact levels over it."""
    plane = _plane()
    learned = pot(torch.as_tensor(plane)).numpy()
    learned = learned - learned.min()  # the offset is free
    exact = waddington.potential(plane, b)
    exact = exact - exact.min()
    levels = np.array([0.01, 0.03, 0.08, 0.15, 0.25, 0.4, 0.7, 1.1, 1.7, 2.4, 3.2])
    top = float(levels[-1])
    shades = ax.contourf(
        TICKS, TICKS, np.minimum(learned, top), np.linspace(0, top, 41), cmap="Blues_r"
    )
    for edge in ax.collections:
        edge.set_rasterized(True)
    ax.contour(TICKS, TICKS, learned, levels, colors=BLACK, linewidths=0.8)
    ax.contour(TICKS, TICKS, exact, levels, colors=VERMILLION, linewidths=1.2, linestyles="--")
    ax.plot([], [], color=BLACK, lw=0.8, label=r"learned $\Xi$")
    ax.plot([], [], color=VERMILLION, lw=1.2, ls="--", label=r"exact $\Xi$")
    truth = waddington.ONE_WELL if b == 0.1 else waddington.TWO_WELLS
    for kind in dict.fromkeys(found.kinds):
        mine = found.points[[k == kind for k in found.kinds]].numpy()
        ax.plot(*mine.T, MARKS[kind], color="white", mec=BLACK, ms=9, label=f"{kind}, learned")
        true = np.array([point.location for point in truth.stationary_points if point.kind == kind])
        ax.plot(*true.T, "+", color=VERMILLION, ms=9, mew=1.5)
    ax.plot([], [], "+", color=VERMILLION, ms=9, mew=1.5, label="stationary points, exact")
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
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.2))
    left.plot(*exact.transpose(2, 0, 1), color=GREY, lw=2.5, alpha=0.6)
    left.plot(*learned.transpose(2, 0, 1), color=BLUE, lw=0.9)
    left.plot(*learned[0].T, ".", color=BLUE, ms=5)
    left.plot([], [], color=GREY, lw=2.5, alpha=0.6, label="exact paths")
    left.plot([], [], ".-", color=BLUE, lw=0.9, ms=5, label="learned paths and their starts")
    left.plot([0, 2.5], [0, 2.5], color=BLACK, lw=0.6, ls=":", label="$x_1 = x_2$")
    left.set(
        xlabel="expression $x_1$", ylabel="expression $x_2$", xlim=(0, 2.5), ylim=(0, 2.5),
        aspect="equal", title="paths while one well turns into two",
    )  # fmt: skip
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
    for paths, color, width, alpha in ((exact, GREY, 2.5, 0.6), (learned, BLUE, 0.9, 1.0)):
        right.plot(times, paths[..., 0] - paths[..., 1], color=color, lw=width, alpha=alpha)
    right.axvline(waddington.SPLIT_TIME, color=GREY, lw=2.5, label="split, exact")
    right.axvline(split, color=VERMILLION, lw=1.2, ls="--", label="split, learned")
    share = second_axis(right)
    share.plot(times, waddington.blend(times), color=GREEN, lw=1.2)
    share.set(ylim=(0, 2.2), yticks=[0, 0.5, 1])
    share.set_ylabel("weight $s(t)$ of b = 1", color=GREEN, y=0.23)
    right.set(
        xlabel="time $t$", ylabel="$x_1 - x_2$", title="the cells choose a side", ylim=(-2.6, 2.3)
    )
    right.plot([], [], color=GREEN, lw=1.2, label="weight of b = 1")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
    figure.savefig(path)
    plt.close(figure)
