r"""Three functions with several wells on [-3, 3]: the paper's Eq. 8 to 10.

Each truth is a :class:`data_gen.truth.PotentialTruth` of one coordinate without units; `sample`
draws the data that the paper fits. They are for fits of a potential to its values.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import Polynomial

from data_gen._validate import whole_number
from data_gen.arrays import FloatArray
from data_gen.truth import Kind, PotentialTruth, StationaryPoint

BOUNDS = np.array([[-3.0, 3.0]])
_DOUBLE = 0.4 * Polynomial([0, 0, -1, 1 / 8, 1 / 4])
# Eq. 10 as 0.05 min_i(a_i (x - x_i)^2 + b_i): as printed, its first piece is never the minimum.
CURVATURES = np.array([12.0, 8.0, 4.0])
CENTERS = np.array([-1.0, 0.0, 2.0])
HEIGHTS = np.array([2.0, -0.5, 1.0])


def _pieces(x: FloatArray) -> FloatArray:
    """The three parabolas of Eq. 10, (points, 3)."""
    return 0.05 * (CURVATURES * (x - CENTERS) ** 2 + HEIGHTS)


def _minimum_gradient(x: FloatArray) -> FloatArray:
    lowest = _pieces(x).argmin(-1)
    return 0.1 * CURVATURES[lowest, None] * (x - CENTERS[lowest, None])


def _points(*places: tuple[float, Kind]) -> tuple[StationaryPoint, ...]:
    return tuple(StationaryPoint((x,), kind) for x, kind in places)


DOUBLE = PotentialTruth(
    name="double",
    bounds=BOUNDS,
    potential=lambda x: _DOUBLE(x[:, 0]),
    gradient=_DOUBLE.deriv(),
    stationary_points=_points((-1.6141, "minimum"), (0.0, "maximum"), (1.2391, "minimum")),
    digits=4,
)
"""Eq. 8, an asymmetric quartic: 0.4 (x^4/4 - x^2 + x^3/8)."""

MODULATED = PotentialTruth(
    name="modulated",
    bounds=BOUNDS,
    potential=lambda x: (x[:, 0] ** 2 + 1.6 * np.cos(4 * x[:, 0]) + 1) / 20,
    gradient=lambda x: (2 * x - 6.4 * np.sin(4 * x)) / 20,
    stationary_points=_points(
        (-2.1699, "minimum"),
        (-1.7119, "maximum"),
        (-0.7280, "minimum"),
        (0.0, "maximum"),
        (0.7280, "minimum"),
        (1.7119, "maximum"),
        (2.1699, "minimum"),
    ),
    digits=4,
)
"""Eq. 9, (x^2 + 1.6 cos(4x) + 1) / 20; concave for |x| > 2.768."""

MINIMUM = PotentialTruth(
    name="minimum",
    bounds=BOUNDS,
    potential=lambda x: _pieces(x).min(-1),
    gradient=_minimum_gradient,
    stationary_points=_points((-1.0, "minimum"), (0.0, "minimum"), (2.0, "minimum")),
    digits=4,
)
"""Eq. 10, the minimum of three parabolas; its two barriers are kinks, where no gradient exists."""

TRUTHS = (DOUBLE, MODULATED, MINIMUM)


def sample(truth: PotentialTruth, n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Points drawn uniformly from the bounds, and their potentials: (n, dim) and (n,).

    Raises:
        TypeError: if n or seed is not an integer.
        ValueError: if n is below 1 or seed is negative.

    Example:
        >>> x, y = sample(DOUBLE, 200, seed=0)
        >>> x.shape, y.shape
        ((200, 1), (200,))
    """
    whole_number("n", n, minimum=1)
    rng = np.random.default_rng(whole_number("seed", seed, minimum=0))
    x = rng.uniform(truth.bounds[:, 0], truth.bounds[:, 1], size=(n, truth.dim))
    return x, truth.potential(x)
