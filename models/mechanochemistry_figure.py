"""Fig. 5 to 7 of the paper, the exact energy beside the learned one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from data_gen import mechanochemistry as crystal
from data_gen.arrays import FloatArray
from lse_vi import LSEICNN
from lse_vi.plots import plot_parity
from lse_vi.plots.style import BLACK, COLORS, FIT, GREY, STYLE, save

LABELS = ("E_{11}", "E_{22}", "E_{33}", "E_{23}", "E_{13}", "E_{12}", "c")
Pair = tuple[FloatArray, FloatArray]  # exact, fitted
STEPS = 18  # of the shades, at most


def _points(**coordinates: ArrayLike) -> FloatArray:
    """Points (..., 7) with the given e1, ..., e6, c, zero elsewhere."""
    shape = np.broadcast_shapes(*(np.shape(value) for value in coordinates.values()))
    strains, c = np.zeros((*shape, 6)), np.zeros(shape)
    for name, value in coordinates.items():
        if name == "c":
            c = np.broadcast_to(value, shape)
        else:
            strains[..., int(name[1]) - 1] = value
    # Strains map linearly to e1, ..., e6; the images of the unit strains give the inverse.
    images = crystal.strains(np.eye(7)[:6])
    return np.concatenate([strains @ np.linalg.inv(images), c[..., None]], axis=-1)


@plt.rc_context(STYLE)
def projections(pot: LSEICNN, path: Path) -> None:
    """Psi in four planes, exact above and learned below; the offset is taken out plane by plane."""
    strain, c = np.linspace(-0.15, 0.15, 101), np.linspace(0, 1, 101)
    planes: list[tuple[str, FloatArray, str, FloatArray, dict[str, float], str, float]] = [
        ("e2", strain, "e3", strain, {"c": 0.0}, "c = 0", 0.7),
        ("e2", strain, "e3", strain, {"c": 1.0}, "c = 1", 0.95),
        ("e2", strain, "c", c, {"e3": 0.05}, "$e_3$ = 0.05", 1.0),
        ("e1", strain, "e6", strain, {"c": 0.5}, "c = 0.5", 0.95),
    ]
    figure, axes = plt.subplots(2, 4, figsize=(13, 6.6), sharex="col", sharey="col")
    for column, (first, x, second, y, fixed, title, highest) in zip(axes.T, planes, strict=True):
        at: dict[str, ArrayLike] = {first: x[None, :], second: y[:, None], **fixed}
        points = _points(**at)
        exact = crystal.potential(points)
        learned = pot(torch.as_tensor(points)).numpy()
        learned = learned + (exact - learned).mean()
        # Even steps, up to a quantile: walls would take them all where wells are flat.
        levels = MaxNLocator(STEPS).tick_values(exact.min(), np.quantile(exact, highest))
        for ax, values, name in zip(column, (exact, learned), ("exact", "learned"), strict=True):
            shades = ax.contourf(x, y, values, levels, cmap="viridis", extend="both")
            ax.set(ylabel=_label(second), box_aspect=1, title=rf"{name}, {title}")
        column[1].set_xlabel(_label(first))
        figure.colorbar(
            shades,
            ax=column,
            label=r"energy $\Psi$",
            location="bottom",
            ticks=levels[::4],
            pad=0.02,
        )
    save(figure, path)


def _label(name: str) -> str:
    return "concentration c" if name == "c" else f"$e_{name[1]}$"


@plt.rc_context(STYLE)
def parity(potential: Pair, gradient: Pair, path: Path) -> None:
    """Fitted against exact on held-out points, and the errors below, which are too small to see."""
    figure, axes = plt.subplots(2, 4, figsize=(13, 6.7), height_ratios=[2, 1])
    _compare(axes[:, 0], potential, [r"$\Psi$"], "potential")
    parts = (
        (range(3), "derivatives by normal strain"),
        (range(3, 6), "derivatives by shear strain"),
        (range(6, 7), "chemical potential"),
    )
    for column, (these, title) in zip(axes.T[1:], parts, strict=True):
        labels = [rf"$\partial\Psi/\partial {LABELS[j]}$" for j in these]
        _compare(column, (gradient[0][:, these], gradient[1][:, these]), labels, title)
    axes[0, 0].set_ylabel("predicted")
    axes[1, 0].set_ylabel("predicted - exact")
    save(figure, path)


def _compare(panels: Sequence[Axes], pair: Pair, labels: list[str], title: str) -> None:
    """Parity above, errors below in the same colours."""
    exact, learned = (part.reshape(-1, len(labels)) for part in pair)
    plot_parity(exact, learned, labels=labels, ax=panels[0])
    panels[0].set(title=title, ylabel="")
    panels[1].axhline(0, color=BLACK, lw=0.8)
    for j, color in zip(range(len(labels)), COLORS, strict=False):
        panels[1].scatter(exact[:, j], (learned - exact)[:, j], s=9, lw=0, color=color)
    panels[1].set_xlabel("exact")


@plt.rc_context(STYLE)
def extrapolation(
    t: FloatArray, potential: Pair, gradient: Pair, in_range: float, path: Path
) -> None:
    """Along the path of Eq. 16, which leaves the range of the data at t = ``in_range``."""
    # On this path the second and third normal components agree, and there is no shear.
    panels = [(r"potential $\Psi$, offset removed", *potential)]
    panels += [
        (rf"derivative $\partial\Psi/\partial {LABELS[j]}$", gradient[0][:, j], gradient[1][:, j])
        for j in (0, 1, 6)
    ]
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.8))
    for ax, (name, exact, learned) in zip(axes, panels, strict=True):
        ax.plot(t, learned, color=FIT, lw=3, label="learned")
        ax.plot(t, exact, color=BLACK, lw=1.2, ls=(0, (4, 3)), label="exact")
        ax.axvline(
            in_range, color=GREY, ls=":", lw=1.2, label="end of the data; extrapolation beyond"
        )
        ax.set(xlabel="path parameter $t$", ylabel=name)
    figure.suptitle("along $c = t$, $E_{11} = 0.4 t$", fontsize="medium")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save(figure, path)
