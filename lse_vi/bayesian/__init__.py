"""Densities with a posterior: how sure is a density, and how many modes are there?

Begin with :mod:`~lse_vi.bayesian.fit` (``fit_posterior``) and :mod:`~lse_vi.bayesian.mode_count`
(``count_modes``). The idea behind both is in :mod:`~lse_vi.coordinates.coordinates`: in the mass,
mean and scale of each mode as coordinates, a posterior is nearly normal. This file does not load
:mod:`~lse_vi.bayesian.arviz`, because ArviZ takes long to import.
"""

from lse_vi.bayesian.compare import compare_densities
from lse_vi.bayesian.evidence import Evidence
from lse_vi.bayesian.fit import fit_posterior
from lse_vi.bayesian.mode_count import ModeCount, count_modes
from lse_vi.bayesian.model import BayesianDensity
from lse_vi.bayesian.nuts import sample_posterior
from lse_vi.bayesian.result import DensityPosterior, PeakSummary
from lse_vi.coordinates.coordinates import ModeCoordinates
from lse_vi.coordinates.prior import Prior

__all__ = [
    "BayesianDensity",
    "DensityPosterior",
    "Evidence",
    "ModeCoordinates",
    "ModeCount",
    "PeakSummary",
    "Prior",
    "compare_densities",
    "count_modes",
    "fit_posterior",
    "sample_posterior",
]
