"""Fig. 9 to 11 of the paper: the data, parity on held-out paths, and three such paths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from data_gen.elasticity import Response

BLACK, GREY = "#000000", "#999999"
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
STYLES = {"isotropic": COLORS[1], "transverse": COLORS[0]}
MODELS = {"literal": COLORS[1], "memory": COLORS[2], "consistent": COLORS[0]}
TITLES = {
    "fixed": "fixed phase, c = 0.5",
    "literal": "two phases, rates in time (paper)",
    "memory": "two phases, rates per length",
    "consistent": "two phases, second law built in",
}
BySet = Mapping[str, np.ndarray]  # stresses of the models with each set of invariants


def data(strain: np.ndarray, exact: Response, path: Path) -> None:
    """Four paths: strain, stress, share of the second phase and its conjugate force."""
    time = np.broadcast_to(np.linspace(0, 1, strain.shape[1]), exact.phase.shape)
    e11, s11 = (strain[..., 0, 0], "strain $E_{11}$"), (exact.stress[..., 0, 0], "stress $S_{11}$")
    phase = exact.phase, "share $c$ of the second phase"
    force, t = (exact.force, r"conjugate force $\kappa$"), (time, "time")
    panels = [(t, e11), (t, s11), (e11, s11), (t, phase), (t, force), (phase, force)]
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for ax, ((x, x_name), (y, y_name)) in zip(axes.flat, panels, strict=True):
        for i, color in enumerate(COLORS):
            ax.plot(x[i], y[i], color=color, lw=1.3)
        ax.set(xlabel=x_name, ylabel=y_name)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def parity(
    exact: Mapping[str, np.ndarray],
    fitted: Mapping[str, BySet],
    r2: Mapping[str, Mapping[str, float]],
    path: Path,
) -> None:
    """Predicted against exact S11 on held-out paths, a panel for each model."""
    figure, axes = plt.subplots(1, len(fitted), figsize=(16, 4.4), layout="constrained")
    for ax, (kind, by_set) in zip(axes, fitted.items(), strict=True):
        s11 = exact[kind][..., 0, 0].ravel()
        everything = np.concatenate([s11, *(s[..., 0, 0].ravel() for s in by_set.values())])
        ends = [everything.min() - 0.01, everything.max() + 0.01]
        ax.plot(ends, ends, color=GREY, lw=1)
        for name, stress in by_set.items():
            label = f"{name}, $R^2$ = {r2[kind][name]:.5f}"
            ax.plot(
                s11, stress[..., 0, 0].ravel(), ".", ms=3, color=STYLES[name], label=label,
                rasterized=True,
            )  # fmt: skip
        ax.set(xlabel="exact $S_{11}$", ylabel="predicted $S_{11}$", title=TITLES[kind])
        ax.set(xlim=ends, ylim=ends, box_aspect=1)
        ax.legend(fontsize="small", loc="upper left", markerscale=3)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def held_out(
    strain: np.ndarray, exact: np.ndarray, fitted: Mapping[str, BySet], path: Path
) -> None:
    """Three held-out paths: stress over time and over strain, transverse invariants."""
    t = np.linspace(0, 1, strain.shape[1])
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.4), layout="constrained")
    for i, column in enumerate(axes.T):
        for ax, x in zip(column, (t, strain[i, :, 0, 0]), strict=True):
            ax.plot(x, exact[i, :, 0, 0], color=BLACK, lw=3, alpha=0.35, label="exact")
            for kind, color in MODELS.items():
                stress = fitted[kind]["transverse"][i, :, 0, 0]
                ax.plot(x, stress, "--", lw=1.3, color=color, label=TITLES[kind])
            ax.set(ylabel="stress $S_{11}$")
        column[0].set(xlabel="time", title=f"held-out path {i + 1}")
        column[1].set(xlabel="strain $E_{11}$")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=130)
    plt.close(figure)
