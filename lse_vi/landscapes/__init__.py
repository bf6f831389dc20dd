"""Landscapes: motion on a potential, its stationary points, and blends of two potentials.

Begin with :mod:`~lse_vi.landscapes.landscape`: the functions here take any object with an energy, a
gradient and a Hessian, such as a fitted :class:`~lse_vi.LSEICNN` or a formula of your own.
"""

from lse_vi.landscapes.blend import Blend, Mixture
from lse_vi.landscapes.flow import basins, gradient_flow
from lse_vi.landscapes.landscape import Landscape
from lse_vi.landscapes.stationary import StationaryPoints, stationary_points
from lse_vi.landscapes.trajectories import rates_from_trajectories

__all__ = [
    "Blend",
    "Landscape",
    "Mixture",
    "StationaryPoints",
    "basins",
    "gradient_flow",
    "rates_from_trajectories",
    "stationary_points",
]
