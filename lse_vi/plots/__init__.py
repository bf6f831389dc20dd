"""Figures of potentials, densities, posteriors and fits: on ``ax``, or a figure of their own."""

from lse_vi.plots.bayesian import plot_check, plot_mode_count, plot_posterior
from lse_vi.plots.densities import plot_density
from lse_vi.plots.fits import plot_history, plot_parity
from lse_vi.plots.guides import plot_mode_weights, plot_pairs
from lse_vi.plots.potentials import plot_potential, plot_surface
from lse_vi.plots.style import BLACK, COLORS, GREY, NAMED, STYLE

__all__ = [
    "BLACK",
    "COLORS",
    "GREY",
    "NAMED",
    "STYLE",
    "plot_check",
    "plot_density",
    "plot_history",
    "plot_mode_count",
    "plot_mode_weights",
    "plot_pairs",
    "plot_parity",
    "plot_posterior",
    "plot_potential",
    "plot_surface",
]
