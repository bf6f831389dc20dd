"""Fig. 8 of the paper, with the exact law and posterior bands beside the fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import SubFigure

from data_gen import gillespie, schlogl
from data_gen.arrays import FloatArray, IntArray
from lse_vi.plots.style import (
    BLACK,
    FIT,
    GREEN,
    GREY,
    STYLE,
    VIOLET,
    draw_band,
    draw_histogram,
    save,
)

SHOWN = 800  # counts on the axes: beyond, every law is below 1e-6


@plt.rc_context(STYLE)
def draw(
    times: Sequence[float],
    counts: IntArray,
    exact: FloatArray,
    lse: FloatArray,
    kde: FloatArray,
    bands: tuple[FloatArray, FloatArray, FloatArray],
    seed: int,
    path: Path,
) -> None:
    """Trajectories; exact law, KDE and LSE-ICNN over time; posterior bands at three times.

    Args:
        times: (times,), in the units of the rate constants.
        counts: (trajectories, times).
        exact, lse, kde: laws (times, counts).
        bands: low edge, mean and high edge of the posterior law, each (times, counts).
        seed: of the trajectories, to draw some of them finely.
        path: where the PNG goes.
    """
    figure = plt.figure(figsize=(11, 11))
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1, 1.9, 1.1])
    _trajectories(top, times, counts, exact, seed)
    _over_time(middle, times, counts, exact, lse, kde)
    _bands(bottom, times, counts, exact, bands)
    save(figure, path)


def _trajectories(
    panel: SubFigure, times: Sequence[float], counts: IntArray, exact: FloatArray, seed: int
) -> None:
    left, right = panel.subplots(1, 2)
    fine = np.linspace(0, max(times), 201)
    some = gillespie.simulate(schlogl.network(), schlogl.X0, fine, 30, seed)[..., 0]
    left.plot(fine, some.T, color=GREY, lw=0.6)
    left.plot([], [], color=GREY, lw=0.6, label="a trajectory")
    left.set(xlabel="time t", ylabel="molecules n", title="30 trajectories from n = 250")
    grid = np.arange(exact.shape[1])
    for row, t in enumerate(times):
        dots = right.scatter(np.full(len(counts), t), counts[:, row], s=5, lw=0, color=GREY)
    dots.set_label("a count")
    right.plot(times, exact @ grid, color=BLACK, lw=1.2, ls="--", label="mean of the exact law")
    right.plot(times, counts.mean(0), "o", mfc="none", color=VIOLET, label="mean of the data")
    right.set(xlabel="time t", ylabel="molecules n", title=f"the data: {len(counts)} per time")
    right.set_ylim(0, 750)
    handles = [h for ax in (left, right) for h in ax.get_legend_handles_labels()[0]]
    panel.legend(handles=handles, loc="outside lower center", ncols=4)


def _over_time(
    panel: SubFigure,
    times: Sequence[float],
    counts: IntArray,
    exact: FloatArray,
    lse: FloatArray,
    kde: FloatArray,
) -> None:
    chosen = np.unique(np.linspace(0, len(times) - 1, 8).round().astype(int))
    axes = panel.subplots(2, 4, sharex=True, squeeze=False).ravel()
    for ax in axes[len(chosen) :]:
        ax.set_axis_off()
    for ax, i in zip(axes, chosen, strict=False):
        draw_histogram(ax, counts[:, i], np.arange(0, SHOWN + 1, 20), density=True)
        ax.plot(lse[i, :SHOWN], color=FIT, lw=2.4, label="LSE-ICNN")
        ax.plot(kde[i, :SHOWN], color=GREEN, lw=1.1, label="kernel estimate (Sheather-Jones)")
        ax.plot(exact[i, :SHOWN], color=BLACK, lw=1.1, ls="--", label="exact law")
        ax.set_title(f"t = {times[i]:g}")
        ax.ticklabel_format(axis="y", scilimits=(-2, 2))
    for ax in axes[:: len(axes) // 2]:
        ax.set_ylabel("probability of n")
    for ax in axes[len(axes) // 2 :]:
        ax.set_xlabel("molecules n")
    panel.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _bands(
    panel: SubFigure,
    times: Sequence[float],
    counts: IntArray,
    exact: FloatArray,
    bands: tuple[FloatArray, FloatArray, FloatArray],
) -> None:
    low, mean, high = bands
    chosen = np.unique(np.linspace(0, len(times) - 1, 4).round().astype(int))[-3:]
    axes = panel.subplots(1, len(chosen), squeeze=False).ravel()
    grid = np.arange(SHOWN)
    for ax, i in zip(axes, chosen, strict=True):
        draw_band(ax, grid, low[i, :SHOWN], high[i, :SHOWN], FIT, "90 % band")
        ax.plot(mean[i, :SHOWN], color=FIT, lw=1.8, label="posterior predictive")
        ax.plot(exact[i, :SHOWN], color=BLACK, lw=1.1, ls="--", label="exact law")
        ax.plot(counts[:, i], np.zeros(len(counts)), "|", color=GREY, ms=7, label="data")
        ax.set(title=f"t = {times[i]:g}", xlabel="molecules n", ylim=(0, None))
        ax.ticklabel_format(axis="y", scilimits=(-2, 2))
    axes[0].set_ylabel("probability of n")
    panel.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
