"""Potentials with several wells and distributions with several modes, on Pyro and PyTorch.

One network (:class:`LSEICNN`, a log-sum-exponential of gated convex networks), used as a potential,
as a density that is normalised and sampled exactly (:class:`LSEDensity`), and in Pyro models.
"""

from lse_vi.density import LSEDensity
from lse_vi.fit import FitResult, NonFiniteLossError, fit_density
from lse_vi.icnn import ICNN, WhitenedICNN
from lse_vi.normalize import Envelope, LaplaceMixture, Quadrature
from lse_vi.potential import LSEICNN, load

__all__ = [
    "ICNN",
    "LSEICNN",
    "Envelope",
    "FitResult",
    "LSEDensity",
    "LaplaceMixture",
    "NonFiniteLossError",
    "Quadrature",
    "WhitenedICNN",
    "fit_density",
    "load",
]
