"""Coordinates of a density that data determine: mass, mean, scale and shape of each mode.

Begin with :mod:`~lse_vi.coordinates.coordinates`, which says why a posterior is nearly normal in
them. Densities with a posterior (:mod:`lse_vi.bayesian`) are built on this room.
"""

from lse_vi.coordinates.coordinates import ModeCoordinates
from lse_vi.coordinates.prior import Prior

__all__ = ["ModeCoordinates", "Prior"]
