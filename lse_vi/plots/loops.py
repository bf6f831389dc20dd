"""Figures of fits with memory: loops of data and model, residuals, and energies."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lse_vi.hysteresis.result import HysteresisFit
from lse_vi.plots.style import BLUE, FIT, GREY, INSIDE, STYLE
from lse_vi.signatures.checked import checked

ACROSS, MOST = 3, 6  # panels in a row, and tests that are drawn: more would be too small to read
MANY = 5000  # rows above which points are drawn as an image: as vectors they make large files
PANEL = 3.2, 2.6  # width and height of a panel, in inches


@checked
def plot_loops(
    result: HysteresisFit, *, strain_label: str = "strain", stress_label: str = "stress"
) -> Figure:
    """Data and model of each test, the residuals of all, and what each loop dissipates.

    Use it to see where a model fails: residuals that follow the strain are not noise. Rows that
    were left out of the fit are crossed.

    Args:
        result: of :func:`~lse_vi.fit_memory` for a list of tests.
        strain_label, stress_label: of the axes, such as "strain (%)".

    Returns:
        The figure; it shows the first six tests.

    Raises:
        TypeError: for another kind of result.

    Example:
        >>> import numpy as np
        >>> from lse_vi import fit_memory
        >>> strain = 0.01 * np.sin(np.linspace(0, 3, 60))
        >>> result = fit_memory([(strain, 40e3 * strain)], progress=False)
        >>> [ax.get_title() for ax in plot_loops(result).axes][-2:]
        ['residuals', 'energy lost in each loop']
    """
    if not isinstance(result, HysteresisFit):
        raise TypeError(
            f"result must be that of fit_memory for a list of tests, but got "
            f"{type(result).__name__}"
        )
    shown = min(len(result.tests), MOST)
    across = min(ACROSS, shown)
    down = -(-shown // across)
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(PANEL[0] * max(across, 2), PANEL[1] * (down + 1)))
        rows = figure.add_gridspec(down + 1, 1)
        for row in range(down):
            cells = rows[row].subgridspec(1, across)
            for column in range(min(across, shown - row * across)):
                test = row * across + column
                _loop(figure.add_subplot(cells[column]), result, test, strain_label, stress_label)
        left, right = (figure.add_subplot(cell) for cell in rows[down].subgridspec(1, 2))
        _residuals(left, result, strain_label, stress_label)
        _energies(right, result, f"{stress_label} x {strain_label}")
        named = {  # one of each kind of mark
            label: mark
            for ax in figure.axes
            for mark, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        figure.legend(named.values(), named, loc="outside lower center", ncols=3)
    return figure


def _loop(ax: Axes, result: HysteresisFit, test: int, strain_label: str, stress_label: str) -> None:
    record, out = result.tests[test], result.left_out[test]
    style: dict[str, Any] = {"ms": 3, "rasterized": len(out) > MANY}
    ax.plot(record.strain[~out], record.stress[~out], ".", color=GREY, label="data", **style)
    if out.any():
        ax.plot(record.strain[out], record.stress[out], "x", color=BLUE, label="left out")
    # Wide and below the data, as most of them are on it.
    ax.plot(record.strain, result.fitted[test], color=FIT, lw=2.5, zorder=1.9, label="model")
    ax.set(title=f"test {record.name}", xlabel=strain_label, ylabel=stress_label)


def _residuals(ax: Axes, result: HysteresisFit, strain_label: str, stress_label: str) -> None:
    for record, fit, out in zip(result.tests, result.fitted, result.left_out, strict=True):
        ax.plot(record.strain[~out], (record.stress - fit)[~out], ".", ms=2, color=GREY)
    scatter: dict[str, Any] = {"fc": (FIT, INSIDE), "ec": FIT, "lw": 0.6}
    ax.axhspan(-result.scatter, result.scatter, **scatter, label="scatter of the data, fitted")
    ax.set(title="residuals", xlabel=strain_label, ylabel=f"{stress_label}, data - model")


def _energies(ax: Axes, result: HysteresisFit, unit: str) -> None:
    index = np.arange(1, len(result.energies) + 1)
    data = [e.data for e in result.energies]
    ax.plot(index, data, "o", ms=9, mfc="none", color=GREY, label="loop, data")
    ax.plot(index, [e.model for e in result.energies], "o", ms=4, color=FIT, label="loop, model")
    ax.set(title="energy lost in each loop", xlabel="loop", ylabel=unit)
    if min(data, default=0.0) > 0:
        ax.set_ylim(bottom=0.0)
