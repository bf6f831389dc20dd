"""Densities fitted to data: ``fit_density``.

Begin with :mod:`~lse_vi.densities.fit`, the public function. :mod:`~lse_vi.densities.training`
holds the loop of Adam steps, :mod:`~lse_vi.densities.polish` the L-BFGS steps that follow, and
:mod:`~lse_vi.densities.result` the object that is returned. The number of modes is chosen in
:mod:`lse_vi.fitting.mode_search`.
"""

from lse_vi.densities.fit import fit_density
from lse_vi.densities.result import FitResult
from lse_vi.densities.weight_prior import log_prior, prior_moments

__all__ = [
    "FitResult",
    "fit_density",
    "log_prior",
    "prior_moments",
]
