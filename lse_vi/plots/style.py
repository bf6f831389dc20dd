"""One look for all figures: what each colour means, contrast, and legends that cover nothing.

Every colour of a line or a mark has a contrast of 3:1 or more on white, and any two of them stay
apart for readers who see no red or no green; the tests of this file compute both.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike

from lse_vi.network.archive import write_whole

COLORS = ("#0B6FCB", "#C98404", "#04634E", "#DD3D9E", "#5520A8", "#57500A")
"""The colours of modes and of series of your own beside those of this library.

Truths are ``BLACK``, data ``GREY`` and the fit as a whole ``FIT`` in every figure.
"""

BLUE, ORANGE, GREEN, PINK, VIOLET, OLIVE = COLORS
BLACK, GREY, FIT = "#000000", "#737373", "#BE4F16"  # truths, data, the fit as a whole
PALE = "#DDDDDD"  # inside histograms of data, whose outlines are grey
# Colours of a density in the plane: they end in a light grey, on which coloured marks still show.
SHADES = LinearSegmentedColormap.from_list("shades", ("#FFFFFF", "#A8A8A8"))
# Colours of heights: the dark two thirds of a map, so that lines of any height show on white.
HEIGHTS = ListedColormap(plt.get_cmap("inferno")(np.linspace(0.0, 0.62, 256)), "heights")
INSIDE = 0.25  # opacity of the inside of a band, whose edges are lines in full colour
NAMED = 10
"""Largest number of modes that a legend names; more would cover the figure."""

STYLE: dict[str, Any] = {
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "image.cmap": "viridis",
    "legend.fontsize": "small",
    "legend.frameon": False,
    "pdf.fonttype": 42,  # letters as letters: journals refuse the default
    "savefig.dpi": 130,
}
"""The look of the figures. Take it over by ``plt.rcParams.update(STYLE)`` or ``plt.rc_context``."""

BELOW = 3.9  # from the axes down to a legend, in sizes of the font: clear of ticks and their label


def new_axes(**settings: Any) -> Axes:
    """Axes of a new figure in this style; ``settings`` are those of ``plt.subplots``."""
    with plt.rc_context(STYLE):
        return plt.subplots(figsize=(6, 4), **settings)[1]


def second_axis(ax: Axes) -> Axes:
    """A second vertical axis on the right; unlike other axes in :data:`STYLE` it has its line."""
    other = ax.twinx()
    other.spines["right"].set_visible(True)
    return other


def legend_below(ax: Axes, columns: int = 2, **settings: Any) -> Legend:
    """A legend below ``ax``, where it covers nothing, if the figure's layout makes room for it.

    Without a layout engine it would be cut off; it then stands where it hides least. ``settings``
    are those of ``ax.legend``.
    """
    look = {"fontsize": "small", "frameon": False, **settings}
    figure: Any = ax.figure
    if figure.get_layout_engine() is None:
        return ax.legend(**look)
    drop = BELOW * plt.rcParams["font.size"] / 72
    place = ax.transAxes + ScaledTranslation(0, -drop, figure.dpi_scale_trans)
    return ax.legend(
        loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=place, borderaxespad=0,
        ncols=columns, **look,
    )  # fmt: skip


def draw_band(
    ax: Axes, x: ArrayLike, low: ArrayLike, high: ArrayLike, color: str, label: str | None = None
) -> None:
    """A band between ``low`` and ``high`` with edges that show on white."""
    ax.fill_between(x, low, high, fc=(color, INSIDE), ec=color, lw=0.6, label=label)


def draw_histogram(ax: Axes, values: ArrayLike, bins: Any, **settings: Any) -> None:
    """A histogram of data: pale, with an outline that shows on white."""
    ax.hist(values, bins=bins, **{"fc": PALE, "ec": GREY, "lw": 0.6, "label": "data", **settings})


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path``, a PNG, and beside it as PDF for print; then close it."""
    for target in (path, path.with_suffix(".pdf")):
        content = io.BytesIO()
        figure.savefig(content, format=target.suffix[1:])
        write_whole("path", content.getvalue(), target)
    plt.close(figure)
