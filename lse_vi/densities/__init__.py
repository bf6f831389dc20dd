"""Densities fitted to data: ``fit_density``.

Begin with :mod:`~lse_vi.densities.fit`, the public function; :mod:`~lse_vi.densities.training`
holds its visible loop (Adam), :mod:`~lse_vi.densities.polish` what follows (L-BFGS), and
:mod:`~lse_vi.densities.result` what comes back. The number of modes is chosen in
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
