"""Potentials fitted to values, gradients or both: ``fit_potential``.

Begin with :mod:`~lse_vi.potentials.fit`, the public function. :mod:`~lse_vi.potentials.training`
holds the loop of steps, :mod:`~lse_vi.potentials.result` the object that is returned. A solver is
an object: :class:`LevenbergMarquardt`, :class:`Adam`, or your own with the methods of
:class:`Solver`.
"""

from lse_vi.potentials.adam import Adam
from lse_vi.potentials.fewest_modes import FewestModes
from lse_vi.potentials.fit import fit_potential, paper_recipe
from lse_vi.potentials.levenberg_marquardt import LevenbergMarquardt
from lse_vi.potentials.result import PotentialFit
from lse_vi.potentials.solver import Run, Solver

__all__ = [
    "Adam",
    "FewestModes",
    "LevenbergMarquardt",
    "PotentialFit",
    "Run",
    "Solver",
    "fit_potential",
    "paper_recipe",
]
