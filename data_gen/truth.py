"""How a system of `data_gen` declares its truth, so that one contract test can check them all.

A new potential is declared as a :class:`PotentialTruth` and added to the list of that test,
``tests/data_gen/test_truths.py``. It holds the gradient against differences of the potential, and
the stationary points against the gradient and its derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from data_gen.arrays import FloatArray

Kind = Literal["minimum", "maximum", "saddle"]


class StationaryPoint(NamedTuple):
    """A point where the gradient vanishes.

    Attributes:
        location: coordinates, length dim.
        kind: by the signs of the Hessian's eigenvalues: all positive, all negative, or both.

    Example:
        >>> StationaryPoint((0.0, 1.0), "saddle").kind
        'saddle'
    """

    location: tuple[float, ...]
    kind: Kind


@dataclass(frozen=True, eq=False)
class PotentialTruth:
    """A potential, its gradient and all its stationary points within a box.

    Attributes:
        name: of the system.
        bounds: lower and upper end of each coordinate, shape (dim, 2).
        potential: (points, dim) -> (points,).
        gradient: (points, dim) -> (points, dim).
        stationary_points: every one inside the bounds.
        digits: decimals to which the locations are declared.

    Example:
        >>> from data_gen import wells
        >>> [point.location for point in wells.DOUBLE.stationary_points if point.kind == "minimum"]
        [(-1.6141,), (1.2391,)]
    """

    name: str
    bounds: FloatArray
    potential: Callable[[FloatArray], FloatArray]
    gradient: Callable[[FloatArray], FloatArray]
    stationary_points: tuple[StationaryPoint, ...]
    digits: int

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.bounds)
