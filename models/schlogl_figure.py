"""Fig. 8 of the paper, with the exact law and posterior bands beside the fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import SubFigure

from data_gen import gillespie, schlogl
from data_gen.arrays import FloatArray, IntArray
from lse_vi.plots.style import BLACK, BLUE, GREEN, PALE, STYLE, VERMILLION

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
    figure = plt.figure(figsize=(11, 9.5))
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1, 1.9, 1])
    _trajectories(top, times, counts, exact, seed)
    _over_time(middle, times, counts, exact, lse, kde)
    _bands(bottom, times, counts, exact, bands)
    figure.savefig(path)
    plt.close(figure)


def _trajectories(
    panel: SubFigure, times: Sequence[float], counts: IntArray, exact: FloatArray, seed: int
) -> None:
    left, right = panel.subplots(1, 2)
    fine = np.linspace(0, max(times), 201)
    some = gillespie.simulate(schlogl.network(), schlogl.X0, fine, 30, seed)[..., 0]
    left.plot(fine, some.T, color=BLUE, lw=0.6, alpha=0.6)
    left.set(xlabel="time t", ylabel="molecules n", title="30 trajectories from n = 250")
    grid = np.arange(exact.shape[1])
    for row, t in enumerate(times):
        right.scatter(np.full(len(counts), t), counts[:, row], s=3, color=BLUE, alpha=0.35)
    right.plot(times, exact @ grid, color=BLACK, lw=1, label="mean of the exact law")
    right.plot(times, counts.mean(0), "o", mfc="none", color=VERMILLION, label="mean of the data")
    right.set(xlabel="time t", ylabel="molecules n", title=f"the data: {len(counts)} per time")
    right.set_ylim(0, 880)  # room for the legend
    right.legend(loc="upper left", ncols=2)


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
        ax.hist(counts[:, i], bins=np.arange(0, SHOWN + 1, 20), density=True, color=PALE)
        ax.plot(exact[i, :SHOWN], color=BLACK, lw=2.2, label="exact law")
        ax.plot(kde[i, :SHOWN], color=GREEN, lw=1.1, ls="--", label="KDE (Sheather-Jones)")
        ax.plot(lse[i, :SHOWN], color=VERMILLION, lw=1.4, label="LSE-ICNN")
        ax.set_title(f"t = {times[i]:g}")
        ax.set_yticks([])
    for ax in axes[:: len(axes) // 2]:
        ax.set_ylabel("probability of n")
    for ax in axes[len(axes) // 2 :]:
        ax.set_xlabel("molecules n")
    axes[len(chosen) - 1].legend(loc="upper right")


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
        ax.fill_between(
            grid, low[i, :SHOWN], high[i, :SHOWN], color=VERMILLION, alpha=0.3, label="90% band"
        )
        ax.plot(mean[i, :SHOWN], color=VERMILLION, lw=1.4, label="posterior predictive")
        ax.plot(exact[i, :SHOWN], color=BLACK, lw=1.4, label="exact law")
        ax.plot(counts[:, i], np.zeros(len(counts)), "|", color=BLUE, ms=7, alpha=0.5, label="data")
        ax.set(title=f"t = {times[i]:g}", xlabel="molecules n", yticks=[], ylim=(0, None))
    axes[0].set_ylabel("probability of n")
    axes[0].legend()
