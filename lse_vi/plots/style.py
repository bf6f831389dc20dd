"""One look for all figures: colours that colour-blind readers tell apart, and no frames."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
"""The colours of modes and curves, by Okabe & Ito (2008). Totals and truths are black, data grey.

Use them for figures of your own beside those of this library.
"""

BLUE, ORANGE, GREEN, VERMILLION, PINK, SKY, YELLOW = COLORS
BLACK, GREY, PALE = "#000000", "#999999", "#DDDDDD"  # totals and truths, data, histograms of data
# Colours of a density in the plane: they end in a middle grey, on which coloured marks still show.
SHADES = LinearSegmentedColormap.from_list("shades", ("#FFFFFF", "#777777"))
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
    "savefig.dpi": 130,
}
"""The look of the figures. Take it over by ``plt.rcParams.update(STYLE)`` or ``plt.rc_context``."""


def new_axes(**settings: Any) -> Axes:
    """Axes of a new figure in this style; ``settings`` are those of ``plt.subplots``."""
    with plt.rc_context(STYLE):
        return plt.subplots(figsize=(6, 4), **settings)[1]


def second_axis(ax: Axes) -> Axes:
    """A second vertical axis on the right; unlike other axes in :data:`STYLE` it has its line."""
    other = ax.twinx()
    other.spines["right"].set_visible(True)
    return other
