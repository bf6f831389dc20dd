"""Fig. 5 to 7 of the paper, the exact energy beside the learned one."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import ArrayLike

from data_gen import mechanochemistry as crystal
from data_gen.arrays import FloatArray
from lse_vi import LSEICNN
from lse_vi.plots import plot_parity
from lse_vi.plots.style import BLACK, BLUE, COLORS, STYLE

LABELS = ("E_{11}", "E_{22}", "E_{33}", "E_{23}", "E_{13}", "E_{12}", "c")
Pair = tuple[FloatArray, FloatArray]  # exact, fitted


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
    planes: list[tuple[str, FloatArray, str, FloatArray, dict[str, float], str]] = [
        ("e2", strain, "e3", strain, {"c": 0.0}, "c = 0"),
        ("e2", strain, "e3", strain, {"c": 1.0}, "c = 1"),
        ("e2", strain, "c", c, {"e3": 0.05}, "$e_3$ = 0.05"),
        ("e1", strain, "e6", strain, {"c": 0.5}, "c = 0.5"),
    ]
    figure, axes = plt.subplots(2, 4, figsize=(13, 5.6))
    for column, (first, x, second, y, fixed, title) in zip(axes.T, planes, strict=True):
        at: dict[str, ArrayLike] = {first: x[None, :], second: y[:, None], **fixed}
        points = _points(**at)
        exact = crystal.potential(points)
        learned = pot(torch.as_tensor(points)).numpy()
        learned = learned + (exact - learned).mean()
        low, high = exact.min(), np.quantile(exact, 0.98)
        levels = low + (high - low) * np.linspace(0, 1, 16) ** 1.7
        for ax, values, name in zip(column, (exact, learned), ("exact", "learned"), strict=True):
            shades = ax.contourf(x, y, values, levels, cmap="viridis", extend="both")
            ax.contour(x, y, values, levels, colors="white", linewidths=0.4)
            ax.set(xlabel=_label(first), ylabel=_label(second))
            ax.set_title(rf"{name} $\Psi$, {title}")
            ax.set_box_aspect(1)
        figure.colorbar(shades, ax=column, shrink=0.8, format="%.2f", ticks=levels[::3])
    figure.savefig(path)
    plt.close(figure)


def _label(name: str) -> str:
    return "concentration c" if name == "c" else f"$e_{name[1]}$"


@plt.rc_context(STYLE)
def parity(potential: Pair, gradient: Pair, path: Path) -> None:
    """Fitted against exact on held-out points: the potential and the parts of the gradient."""
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.9))
    plot_parity(*potential, ax=axes[0])
    axes[0].set(xlabel=r"exact $\Psi$", ylabel=r"learned $\Psi$, offset removed", title="potential")
    parts = (
        (axes[1], range(3), "derivatives by normal strain"),
        (axes[2], range(3, 6), "derivatives by shear strain"),
        (axes[3], range(6, 7), "chemical potential"),
    )
    for ax, columns, title in parts:
        labels = [rf"$\partial\Psi/\partial {LABELS[j]}$" for j in columns]
        plot_parity(*(part[:, columns] for part in gradient), labels=labels, ax=ax)
        ax.set(ylabel="learned", title=title)
    figure.savefig(path)
    plt.close(figure)


@plt.rc_context(STYLE)
def extrapolation(
    t: FloatArray, potential: Pair, gradient: Pair, in_range: float, path: Path
) -> None:
    """Along the path of Eq. 16, which leaves the range of the data at t = ``in_range``."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.8))
    axes[0].plot(t, potential[0], color=BLACK, lw=2.5, alpha=0.45, label="exact")
    axes[0].plot(t, potential[1], "--", color=BLUE, label="learned, offset removed")
    axes[0].set(ylabel=r"potential $\Psi$", title="potential")
    # On this path the second and third normal components agree, and there is no shear.
    for ax, columns, title in (
        (axes[1], (0, 1), "derivatives by strain"), (axes[2], (6,), "chemical potential"),
    ):  # fmt: skip
        for j in columns:
            name = rf"$\partial\Psi/\partial {LABELS[j]}$"
            ax.plot(
                t, gradient[0][:, j], color=COLORS[j], lw=2.5, alpha=0.45, label=f"{name}, exact"
            )
            ax.plot(t, gradient[1][:, j], "--", color=COLORS[j], label=f"{name}, learned")
        ax.set(title=title, ylabel="derivative")
    for ax in axes:
        ax.axvline(in_range, color=BLACK, ls=":", lw=1)
        ax.text(in_range, 0.02, " extrapolation", transform=ax.get_xaxis_transform(), fontsize=8)
        ax.set_xlabel(r"path parameter $t$ ($c = t$, $E_{11} = 0.4 t$)")
        ax.legend()
    figure.savefig(path)
    plt.close(figure)
