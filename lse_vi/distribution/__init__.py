"""The density of a potential: log Z with its error, exact draws, and the bounds that prove them.

Begin with :mod:`~lse_vi.distribution.density`, the Pyro distribution. log Z is found in
:mod:`~lse_vi.distribution.quadrature` (one and two dimensions) and
:mod:`~lse_vi.distribution.importance` (any dimension); both make a :class:`Rule`, a set of weighted
points. The guarantees come from :mod:`~lse_vi.distribution.bounds`: as the modes are convex,
exp(-E) lies below a density that can be sampled.
"""

from lse_vi.distribution.box import Box
from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.exact_draws import ExactDraws
from lse_vi.distribution.importance import Envelope, LaplaceMixture, MomentMixture
from lse_vi.distribution.peaks import DensityPeaks
from lse_vi.distribution.quadrature import Quadrature
from lse_vi.distribution.rule import Method, Rule

__all__ = [
    "Box",
    "DensityPeaks",
    "Envelope",
    "ExactDraws",
    "LSEDensity",
    "LaplaceMixture",
    "Method",
    "MomentMixture",
    "Quadrature",
    "Rule",
]
