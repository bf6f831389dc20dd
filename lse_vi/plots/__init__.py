"""Figures of densities, potentials and fits: each takes ``ax=None`` and returns its Axes."""

from lse_vi.plots.densities import plot_density
from lse_vi.plots.fits import plot_history, plot_parity
from lse_vi.plots.potentials import plot_potential, plot_surface
from lse_vi.plots.style import BLACK, COLORS, GREY, NAMED, STYLE

__all__ = [
    "BLACK",
    "COLORS",
    "GREY",
    "NAMED",
    "STYLE",
    "plot_density",
    "plot_history",
    "plot_parity",
    "plot_potential",
    "plot_surface",
]
