"""Figures of potentials, densities, posteriors and fits: ``plot_density`` and others.

Each function draws on ``ax``, or on a new figure without one. Begin with
:mod:`~lse_vi.plots.densities`; :mod:`~lse_vi.plots.style` holds the colours and the look of all,
and :mod:`~lse_vi.plots.canvas` the grids and windows. Loading this room loads Matplotlib.
"""

from lse_vi.plots.bayesian import plot_check, plot_mode_count, plot_posterior
from lse_vi.plots.chains import plot_chains
from lse_vi.plots.densities import plot_density
from lse_vi.plots.fits import plot_history, plot_parity
from lse_vi.plots.guides import plot_mode_weights, plot_pairs
from lse_vi.plots.loops import plot_loops
from lse_vi.plots.over_time import plot_over_time
from lse_vi.plots.potentials import plot_potential, plot_surface
from lse_vi.plots.style import BLACK, COLORS, FIT, GREY, NAMED, STYLE

__all__ = [
    "BLACK",
    "COLORS",
    "FIT",
    "GREY",
    "NAMED",
    "STYLE",
    "plot_chains",
    "plot_check",
    "plot_density",
    "plot_history",
    "plot_loops",
    "plot_mode_count",
    "plot_mode_weights",
    "plot_over_time",
    "plot_pairs",
    "plot_parity",
    "plot_posterior",
    "plot_potential",
    "plot_surface",
]
