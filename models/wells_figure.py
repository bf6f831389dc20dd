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
from lse_vi.plots.style import BLACK, BLUE, COLORS, GREY, STYLE, VERMILLION, second_axis

NAMES = {"double": "double well (Eq. 8)", "modulated": "modulated well (Eq. 9)",
         "minimum": "minimum of parabolas (Eq. 10)"}  # fmt: skip
MODES = tuple(color for color in COLORS if color != VERMILLION)  # in which the fit is drawn
Results = Mapping[PotentialTruth, Sequence[PotentialFit]]


@plt.rc_context(STYLE)
def sharpness(path: Path) -> None:
    """The soft minimum of the three parabolas of Eq. 10 for several rho."""
    x = torch.linspace(-3, 3, 601).unsqueeze(-1)
    figure, ax = plt.subplots(figsize=(6.5, 4.2))
    for rho, color in zip((5.0, 20.0, 100.0), (COLORS[0], COLORS[1], COLORS[2]), strict=True):
        pot = LSEICNN(1, 3, hidden=(), rho=rho, gate=1 - 1e-9, network=WhitenedICNN)
        pot.network.reset_parameters(
            torch.tensor(wells.CENTERS).unsqueeze(-1),
            torch.tensor(0.1 * wells.CURVATURES).sqrt().reshape(3, 1, 1),
        )
        with torch.no_grad():
            whitened(pot.network).icnn.bias[..., -1] = 0.05 * torch.tensor(wells.HEIGHTS)
            modes, energy = pot.mode_potentials(x), pot(x)
        ax.plot(x, energy, color=color, label=rf"$\rho$ = {rho:g}")
    ax.plot(x, modes, color=GREY, lw=0.8, ls="--")
    ax.plot([], [], color=GREY, lw=0.8, ls="--", label="modes $f_k$")
    ax.plot(x, wells.MINIMUM.potential(x.numpy()), color=BLACK, lw=1, label=r"$\min_k f_k$")
    ax.set(xlabel="$x$", ylabel="$E(x)$", ylim=(-0.1, 1.0), title=r"$\rho$ sets how sharp E turns")
    ax.legend()
    figure.savefig(path)
    plt.close(figure)


@plt.rc_context(STYLE)
def convergence(results: Results, path: Path) -> None:
    """Error and number of modes over the steps of the fit, each seed thin, the median thick."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.5))
    for ax, (truth, fits) in zip(axes, results.items(), strict=True):
        count = second_axis(ax)
        length = max(len(fit.history["step"]) for fit in fits)
        for key, side, color in (("loss", ax, BLACK), ("active_modes", count, BLUE)):
            curves = np.array([_padded(fit.history[key], length) for fit in fits])
            curves = np.sqrt(curves) if key == "loss" else curves
            side.plot(np.arange(1, length + 1), curves.T, color=color, lw=0.5, alpha=0.5)
            side.plot(np.arange(1, length + 1), np.median(curves, axis=0), color=color, lw=2)
        ax.set(yscale="log", xlabel="step (Levenberg-Marquardt)", title=NAMES[truth.name])
        ax.set_ylabel("error / spread of the data")
        count.set_ylabel("active modes", color=BLUE)
        count.set(ylim=(0, 6), yticks=range(7))
        count.tick_params(axis="y", colors=BLUE)
    lines = [axes[0].plot([], [], color=BLACK, lw=w)[0] for w in (0.5, 2)]
    axes[0].legend(lines, ["one seed", "median"], loc="upper right")
    figure.savefig(path)
    plt.close(figure)


def _padded(values: Sequence[float], length: int) -> FloatArray:
    """A history as long as the longest: a fit that has ended stays where it is."""
    return np.concatenate([values, np.full(length - len(values), values[-1])])


@plt.rc_context(STYLE)
def fits(results: Results, seed: int, path: Path) -> None:
    """One fit with its modes and minima above, the errors of every seed below."""
    figure, axes = plt.subplots(2, 3, figsize=(11, 5.4), height_ratios=[3, 1], sharex=True)
    x = torch.linspace(-3, 3, 601).unsqueeze(-1)
    for (above, below), (truth, found) in zip(axes.T, results.items(), strict=True):
        exact, first = truth.potential(x.numpy()), found[0]
        _modes(above, first.potential, x)
        above.plot(x, exact, color=BLACK, lw=3.5, ls=(0, (4, 2)), label="exact")
        for row, fit in enumerate(found):
            with torch.no_grad():
                energy = fit.potential(x).numpy()
            below.plot(x, energy - exact, color=VERMILLION, lw=0.6)
            if row == 0:
                above.plot(x, energy, color=VERMILLION, lw=1.4, label=f"fit, seed {seed}")
        above.plot(
            *first.minima, "o", color="white", mec=VERMILLION, mew=1.5, label="minima of the fit"
        )
        spread = np.ptp(exact)
        above.set(ylim=(exact.min() - 0.08 * spread, exact.max() + 0.05 * spread))
        above.set(ylabel="$E(x)$", title=NAMES[truth.name])
        below.set(xlabel="$x$", ylabel=f"error, {len(found)} seeds")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path)
    plt.close(figure)


@torch.no_grad()
def _modes(ax: Axes, pot: LSEICNN, x: torch.Tensor) -> None:
    """What E would be by each mode alone; it touches E where that mode is responsible."""
    shift = (np.log(pot.modes) - pot.log_gates) / pot.rho
    curves = pot.mode_potentials(x) + shift
    for k in range(pot.modes):
        label = "modes alone" if k == 0 else None
        ax.plot(x, curves[:, k], color=MODES[k % len(MODES)], lw=1, alpha=0.8, label=label)


@plt.rc_context(STYLE)
def evolution(results: Results, path: Path) -> None:
    """rho, gates and shares of the modes over the fit of the first seed, of the leading restart."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.5))
    for ax, (truth, found) in zip(axes, results.items(), strict=True):
        history = found[0].history
        steps, side = np.array(history["step"]), second_axis(ax)
        ax.plot(steps, history["rho"], color=BLACK, lw=2, label=r"$\rho$")
        most = max(len(row) for row in history["shares"])
        for k in range(most):
            for key, style, name in (("shares", "-", "share"), ("gates", ":", "gate")):
                # Sorted, as another restart that takes the lead has its modes in another order.
                rows = [sorted(row, reverse=True) for row in history[key]]
                curve = [row[k] if k < len(row) else np.nan for row in rows]
                label = f"{name} of a mode" if k == 0 else None
                side.plot(steps, curve, style, color=MODES[k % len(MODES)], lw=1.2, label=label)
        counts = [len(row) for row in history["shares"]]
        for i in np.flatnonzero(np.diff(counts)):
            ax.axvline(steps[i] + 0.5, color=GREY, lw=0.6)
        ax.set(yscale="log", xlabel="step (lines: a mode more)", title=NAMES[truth.name])
        ax.set_ylabel(r"$\rho$, per standard deviation of the data")
        side.set(ylim=(-0.02, 1.05), ylabel="mean responsibility; gate")
        if ax is axes[0]:
            handles = [h for part in (ax, side) for h in part.get_legend_handles_labels()[0]]
            side.legend(handles=handles, loc="lower left")
    figure.savefig(path)
    plt.close(figure)
