"""Hysteresis from tests of one strain and one stress: ``fit_memory`` on a list of files' columns.

Begin with :mod:`~lse_vi.hysteresis.fit`; :mod:`~lse_vi.hysteresis.selection` decides on the number
of phases, :mod:`~lse_vi.hysteresis.starts` finds them, and :mod:`~lse_vi.hysteresis.training` fits.
"""

from lse_vi.hysteresis.fit import fit_memory
from lse_vi.hysteresis.result import Estimate, HysteresisFit, LoopEnergy, Transition, Trial

__all__ = ["Estimate", "HysteresisFit", "LoopEnergy", "Transition", "Trial", "fit_memory"]
