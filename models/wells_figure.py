"""Fig. 1 to 4 of the paper: what rho does, and the fits of three functions from several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from data_gen import wells
from data_gen.arrays import FloatArray
from data_gen.truth import PotentialTruth
from lse_vi import LSEICNN, PotentialFit, WhitenedICNN
from lse_vi.network.icnn import whitened
from lse_vi.plots.style import BLACK, BLUE, COLORS, FIT, GREY, STYLE, VIOLET, save

NAMES = {"double": "double well (Eq. 8)", "modulated": "modulated well (Eq. 9)",
         "minimum": "minimum of parabolas (Eq. 10)"}  # fmt: skip
Results = Mapping[PotentialTruth, Sequence[PotentialFit]]


@plt.rc_context(STYLE)
def sharpness(path: Path) -> None:
    """The soft minimum of the three parabolas of Eq. 10 for several rho."""
    x = torch.linspace(-3, 3, 601).unsqueeze(-1)
    figure, ax = plt.subplots(figsize=(6.5, 4.2))
    for rho, color in zip((5.0, 20.0, 100.0), COLORS[:3], strict=True):
        pot = LSEICNN(1, 3, hidden=(), rho=rho, gate=1 - 1e-9, network=WhitenedICNN)
        pot.network.reset_parameters(
            torch.tensor(wells.CENTERS).unsqueeze(-1),
            torch.tensor(0.1 * wells.CURVATURES).sqrt().reshape(3, 1, 1),
        )
        with torch.no_grad():
            whitened(pot.network).icnn.bias[..., -1] = 0.05 * torch.tensor(wells.HEIGHTS)
            modes, energy = pot.mode_potentials(x), pot(x)
        ax.plot(x, energy, color=color, label=rf"$\rho$ = {rho:g}")
    ax.plot(x, modes, color=VIOLET, lw=0.8, ls="--")
    ax.plot([], [], color=VIOLET, lw=0.8, ls="--", label="modes $f_k$")
    ax.plot(x, wells.MINIMUM.potential(x.numpy()), color=BLACK, lw=1, label=r"$\min_k f_k$")
    ax.set(xlabel="$x$", ylabel="potential $E(x)$", ylim=(-0.1, 1.0))
    ax.set_title(r"$\rho$ sets how sharp E turns")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=6)
    save(figure, path)


@plt.rc_context(STYLE)
def convergence(results: Results, path: Path) -> None:
    """Error, and number of modes below it, over the steps: each seed thin, the median thick."""
    figure, axes = plt.subplots(2, 3, figsize=(11, 5.2), height_ratios=[3, 2], sharex="col")
    for (above, below), (truth, fits) in zip(axes.T, results.items(), strict=True):
        length = max(len(fit.history["step"]) for fit in fits)
        steps = np.arange(1, length + 1)
        for key, ax in (("loss", above), ("active_modes", below)):
            curves = np.array([_padded(fit.history[key], length) for fit in fits])
            curves = np.sqrt(curves) if key == "loss" else curves
            ax.step(steps, curves.T, color=BLUE, lw=0.6, alpha=0.6)
            ax.step(steps, np.median(curves, axis=0), color=FIT, lw=2)
        above.set(yscale="log", title=NAMES[truth.name])
        below.set(xlabel="step of Levenberg-Marquardt", ylim=(0, 6), yticks=range(7))
    axes[0, 0].set_ylabel("error / spread of the data")
    axes[1, 0].set_ylabel("active modes")
    looks = ((BLUE, 0.6, "one seed"), (FIT, 2, "median of the seeds"))
    lines = [axes[0, 0].plot([], [], color=c, lw=lw, label=label)[0] for c, lw, label in looks]
    figure.legend(handles=lines, loc="outside lower center", ncols=2)
    save(figure, path)


def _padded(values: Sequence[float], length: int) -> FloatArray:
    """A history as long as the longest: a fit that has ended stays where it is."""
    return np.concatenate([values, np.full(length - len(values), values[-1])])


@plt.rc_context(STYLE)
def fits(results: Results, seed: int, path: Path) -> None:
    """One fit with its modes and minima above, the errors of every seed below."""
    figure, axes = plt.subplots(2, 3, figsize=(11, 6), height_ratios=[3, 1.2], sharex=True)
    x = torch.linspace(-3, 3, 601).unsqueeze(-1)
    for (above, below), (truth, found) in zip(axes.T, results.items(), strict=True):
        exact, first = truth.potential(x.numpy()), found[0]
        _modes(above, first.potential, x)
        for row, fit in enumerate(found):
            with torch.no_grad():
                energy = fit.potential(x).numpy()
            below.plot(x, energy - exact, color=FIT, lw=0.6)
            if row == 0:
                above.plot(x, energy, color=FIT, lw=3.5, label=f"fit, seed {seed}")
        above.plot(x, exact, color=BLACK, lw=1.2, ls=(0, (4, 3)), label="exact")
        above.plot(*first.minima, "o", color="white", mec=FIT, mew=1.5, label="minima of the fit")
        above.plot([], [], color=FIT, lw=0.6, label=f"each of {len(found)} seeds (below)")
        spread = np.ptp(exact)
        above.set(ylim=(exact.min() - 0.08 * spread, exact.max() + 0.05 * spread))
        above.set_title(NAMES[truth.name])
        below.set_xlabel("$x$")
        below.ticklabel_format(axis="y", scilimits=(-2, 2))
    axes[0, 0].set_ylabel("potential $E(x)$")
    axes[1, 0].set_ylabel("fit - exact")
    most = max(axes[0], key=lambda ax: len(ax.get_legend_handles_labels()[0]))  # modes of all
    figure.legend(*most.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    save(figure, path)


@torch.no_grad()
def _modes(ax: Axes, pot: LSEICNN, x: torch.Tensor) -> None:
    """What E would be by each mode alone; it touches E where that mode is responsible."""
    shift = (np.log(pot.modes) - pot.log_gates) / pot.rho
    curves = pot.mode_potentials(x) + shift
    for k in range(pot.modes):
        ax.plot(x, curves[:, k], color=COLORS[k], lw=1, label=f"mode {k} alone")


@plt.rc_context(STYLE)
def evolution(results: Results, path: Path) -> None:
    """rho, shares and gates of the modes over the fit of the first seed, of the leading restart."""
    figure, axes = plt.subplots(3, 3, figsize=(11, 7), sharex="col", sharey="row")
    for column, (truth, found) in zip(axes.T, results.items(), strict=True):
        history = found[0].history
        steps = np.array(history["step"])
        column[0].plot(steps, history["rho"], color=FIT, lw=1.5, label=r"$\rho$")
        for ax, key in zip(column[1:], ("shares", "gates"), strict=True):
            # Sorted, as another restart that takes the lead has its modes in another order.
            rows = [sorted(row, reverse=True) for row in history[key]]
            for k in range(max(map(len, rows))):
                curve = [row[k] if k < len(row) else np.nan for row in rows]
                ax.plot(steps, curve, color=COLORS[k], lw=1.2, label=f"number {k + 1} by size")
        counts = [len(row) for row in history["shares"]]
        for ax in column:
            for i in np.flatnonzero(np.diff(counts)):
                ax.axvline(steps[i] + 0.5, color=GREY, lw=0.8, ls=":")
        column[0].set(yscale="log", title=NAMES[truth.name])
        column[2].set_xlabel("step of Levenberg-Marquardt")
    axes[0, 0].set_ylabel("$\\rho$ x spread\nof the data")
    axes[1, 0].set(ylabel="shares of the modes\n(mean responsibility)", ylim=(-0.05, 1.05))
    axes[2, 0].set(ylabel="gates of the modes", ylim=(0.8, 1.02))
    most = max(axes[1], key=lambda ax: len(ax.get_lines()))
    handles = [*axes[0, 0].get_lines()[:1], *most.get_legend_handles_labels()[0]]
    handles += axes[0, 0].plot([], [], color=GREY, lw=0.8, ls=":", label="a mode more or less")
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    save(figure, path)
