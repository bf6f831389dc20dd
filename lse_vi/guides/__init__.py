"""Guides with several modes for any Pyro model: ``AutoLSEICNN`` and ``fit_guide``.

Begin with :mod:`~lse_vi.guides.fit`, which runs all steps in order: it finds the peaks of the
posterior (:mod:`~lse_vi.guides.peak_search`), puts a mode of the guide on each
(:mod:`~lse_vi.guides.placement`), trains the guide (:mod:`~lse_vi.guides.training`), judges it
(:mod:`~lse_vi.guides.diagnostics`), and reports (:mod:`~lse_vi.guides.result`).
"""

from lse_vi.guides.diagnostics import Importance, Missed
from lse_vi.guides.elbo import EnergyELBO
from lse_vi.guides.fit import fit_guide
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.guides.peaks import Peaks
from lse_vi.guides.result import GuideResult
from lse_vi.guides.training import GuideRecipe

__all__ = [
    "AutoLSEICNN",
    "EnergyELBO",
    "GuideRecipe",
    "GuideResult",
    "Importance",
    "Missed",
    "Peaks",
    "fit_guide",
]
