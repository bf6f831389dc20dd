"""Fig. 9 to 11 of the paper: the data, parity on held-out paths, and three such paths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from data_gen.arrays import FloatArray
from data_gen.elasticity import Response
from lse_vi.plots import plot_parity
from lse_vi.plots.style import BLACK, BLUE, COLORS, GREEN, ORANGE, STYLE, save

SHOWN = 4  # paths of the data
# Colour and width of each model: the later are narrower, so that none hides another.
MODELS = {"consistent": (BLUE, 4.0), "memory": (GREEN, 1.8), "literal": (ORANGE, 1.4)}
LEAST = 1e-6  # errors below are drawn there, on a logarithmic axis
TITLES = {
    "fixed": "fixed phase, c = 0.5",
    "literal": "two phases, rates in time (paper)",
    "memory": "two phases, rates per length",
    "consistent": "two phases, second law built in",
}
BySet = Mapping[str, FloatArray]  # stresses of the models with each set of invariants


@plt.rc_context(STYLE)
def data(strain: FloatArray, exact: Response, path: Path) -> None:
    """Four paths: strain, stress, share of the second phase and its conjugate force."""
    time = np.broadcast_to(np.linspace(0, 1, strain.shape[1]), exact.phase.shape)
    e11, s11 = (strain[..., 0, 0], "strain $E_{11}$"), (exact.stress[..., 0, 0], "stress $S_{11}$")
    phase = exact.phase, "share $c$ of the second phase"
    force, t = (exact.force, r"conjugate force $\kappa$"), (time, "time")
    panels = [(t, e11), (t, s11), (e11, s11), (t, phase), (t, force), (phase, force)]
    figure, axes = plt.subplots(2, 3, figsize=(11, 6))
    for ax, ((x, x_name), (y, y_name)) in zip(axes.flat, panels, strict=True):
        for i in range(SHOWN):
            ax.plot(x[i], y[i], color=COLORS[i], lw=1.3, label=f"path {i + 1}")
        ax.set(xlabel=x_name, ylabel=y_name)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=SHOWN)
    save(figure, path)


@plt.rc_context(STYLE)
def parity(exact: Mapping[str, FloatArray], fitted: Mapping[str, BySet], path: Path) -> None:
    """Predicted against exact S11 on held-out paths and, below, the errors, for each model."""
    figure, axes = plt.subplots(2, len(fitted), figsize=(13, 7), height_ratios=[2, 1])
    for (ax, below), (kind, by_set) in zip(axes.T, fitted.items(), strict=True):
        predicted = np.stack([s[..., 0, 0].ravel() for s in by_set.values()], axis=-1)
        s11 = np.broadcast_to(exact[kind][..., 0, 0].reshape(-1, 1), predicted.shape)
        plot_parity(s11, predicted, labels=list(by_set), ax=ax)
        ax.set(xlabel="exact $S_{11}$", ylabel="", title=TITLES[kind])
        below.axhline(0, color=BLACK, lw=0.8)
        for error, color in zip((predicted - s11).T, COLORS, strict=False):
            below.scatter(s11[:, 0], error, s=4, lw=0, color=color, rasterized=True)
        below.set_xlabel("exact $S_{11}$")
        below.ticklabel_format(axis="y", scilimits=(-2, 2))
    axes[0, 0].set_ylabel("predicted $S_{11}$")
    axes[1, 0].set_ylabel("predicted - exact")
    save(figure, path)


@plt.rc_context(STYLE)
def held_out(
    strain: FloatArray, exact: FloatArray, fitted: Mapping[str, BySet], path: Path
) -> None:
    """Three held-out paths: stress over time and over strain, errors; transverse invariants."""
    t = np.linspace(0, 1, strain.shape[1])
    figure, axes = plt.subplots(3, 3, figsize=(11, 9), sharey="row")
    for i, (above, loop, below) in enumerate(axes.T):
        for kind, (color, width) in MODELS.items():
            stress = fitted[kind]["transverse"][i, :, 0, 0]
            for ax, x in ((above, t), (loop, strain[i, :, 0, 0])):
                ax.plot(x, stress, lw=width, color=color, label=TITLES[kind])
            error = np.abs(stress - exact[i, :, 0, 0])
            below.plot(t, np.maximum(error, LEAST), lw=1.2, color=color)
        for ax, x in ((above, t), (loop, strain[i, :, 0, 0])):
            ax.plot(x, exact[i, :, 0, 0], "--", color=BLACK, lw=0.9, label="exact")
        above.set(title=f"held-out path {i + 1}", xlabel="time")
        loop.set_xlabel("strain $E_{11}$")
        below.set(xlabel="time", yscale="log")
    axes[0, 0].set_ylabel("stress $S_{11}$")
    axes[1, 0].set_ylabel("stress $S_{11}$")
    axes[2, 0].set_ylabel("size of the error of $S_{11}$")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    save(figure, path)
