"""Draws of a posterior that are exact in the limit of many: ``sample_smc``.

Begin with :mod:`~lse_vi.sampling.smc`. It starts from draws around a guide's modes and carries them
to the posterior by tempering (:mod:`lse_vi.numerics.tempering`), with Hamiltonian moves in the
frame of each mode (:mod:`~lse_vi.sampling.hamiltonian`). What it returns is in
:mod:`~lse_vi.sampling.draws`.
"""

from lse_vi.sampling.draws import PosteriorDraws
from lse_vi.sampling.smc import SMCSettings, sample_smc

__all__ = ["PosteriorDraws", "SMCSettings", "sample_smc"]
