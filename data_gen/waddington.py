r"""Two genes that inhibit each other, as a gradient flow on a landscape (the paper's Eq. 32).

.. math::
    \Xi &= -\sum_i \Big(\frac{a p x_i^2}{2} - \frac{a x_i^3}{3}\Big)
          - \frac{b x_1}{S^n + x_2^n} - \frac{b x_2}{S^n + x_1^n}, \\
    \dot x &= -\nabla \Xi

with a = p = S = 1 and n = 4, which the paper leaves open; x are expression levels and b is the
strength of the inhibition. At b = 0.1 there is one stable state, at b = 1 there are two.
Since :math:`\Xi` is linear in b, the blend of two landscapes is the landscape of the blended b.
The system is for landscapes learned from rates or paths, as its stationary points and basins are
known.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp

from data_gen._validate import positive, real_array, time_grid, whole_number
from data_gen.arrays import FloatArray
from data_gen.truth import PotentialTruth, StationaryPoint

N = 4
BOUNDS = np.array([[0.0, 2.5], [0.0, 2.5]])

B_CRITICAL = 0.3595
"""Where the central state turns from a minimum into a saddle, to four decimals."""

BLEND_RATE, BLEND_START = 0.7, 0.01
SPLIT_TIME = 5.27
"""Fig. 13: the blend s with ds/dt = 0.7 s (1 - s), s(0) = 0.01, has b = B_CRITICAL at this time."""


def potential(x: FloatArray, b: ArrayLike) -> FloatArray:
    """Xi at points (..., 2): shape (...); b broadcasts against that.

    Example:
        >>> potential(np.zeros((5, 2)), 1.0).shape
        (5,)
    """
    x1, x2, b = x[..., 0], x[..., 1], np.asarray(b)
    growth = (x**2 / 2 - x**3 / 3).sum(-1)
    return -growth - b * x1 / (1 + x2**N) - b * x2 / (1 + x1**N)


def gradient(x: FloatArray, b: ArrayLike) -> FloatArray:
    """grad Xi at points (..., 2), same shape; b broadcasts against (...).

    Example:
        >>> float(np.abs(gradient(np.array([0.8135, 0.8135]), 1.0)).max()) < 1e-3  # the saddle
        True
    """
    other = x[..., ::-1]
    inhibition = 1 / (1 + other**N) - N * other * x ** (N - 1) / (1 + x**N) ** 2
    return x**2 - x - np.asarray(b)[..., None] * inhibition


def blend(t: ArrayLike) -> FloatArray:
    """The weight s(t) of the landscape with b = 1 in Fig. 13, a logistic curve.

    Example:
        >>> blend([0.0, 14.0]).round(3).tolist()
        [0.01, 0.995]
    """
    odds = BLEND_START / (1 - BLEND_START) * np.exp(BLEND_RATE * np.asarray(t, dtype=float))
    return odds / (1 + odds)


def blended_b(t: float) -> float:
    """The b of the landscape (1 - s) Xi_0.1 + s Xi_1 at time t of Fig. 13.

    Example:
        >>> round(blended_b(SPLIT_TIME), 2)  # B_CRITICAL
        0.36
    """
    return 0.1 + 0.9 * float(blend(t))


def flow(start: ArrayLike, times: ArrayLike, b: Callable[[float], float]) -> FloatArray:
    """Paths of dx/dt = -grad Xi with a b that depends on time.

    Args:
        start: (n, 2), at time 0.
        times: (times,), increasing.
        b: from a time to a strength of the inhibition.

    Returns:
        Shape (times, n, 2).

    Example:
        >>> flow([[0.5, 1.0]], [0.0, 1.0, 2.0], blended_b).shape
        (3, 1, 2)
    """
    x = real_array("start", start, ndim=2)
    grid = time_grid("times", times)
    solution = solve_ivp(
        lambda t, x: -gradient(x.reshape(-1, 2), b(t)).ravel(),
        (0.0, float(grid[-1]) or 1.0),
        x.ravel(),
        t_eval=grid,
        method="DOP853",
        rtol=1e-9,
        atol=1e-9,
    )
    return solution.y.T.reshape(len(grid), -1, 2)


def trajectories(b: float, times: ArrayLike, n: int, seed: int) -> FloatArray:
    """Paths at one b from starts drawn uniformly from the bounds: (times, n, 2).

    Raises:
        ValueError: if b is not positive, n is below 1 or the times do not increase from 0.

    Example:
        >>> trajectories(1.0, [0.0, 1.0, 2.0], 5, seed=0).shape
        (3, 5, 2)
    """
    positive("b", b)
    whole_number("n", n, minimum=1)
    rng = np.random.default_rng(whole_number("seed", seed, minimum=0))
    return flow(rng.uniform(BOUNDS[:, 0], BOUNDS[:, 1], size=(n, 2)), times, lambda t: b)


ONE_WELL = PotentialTruth(
    name="waddington_one",
    bounds=BOUNDS,
    potential=lambda x: potential(x, 0.1),
    gradient=lambda x: gradient(x, 0.1),
    stationary_points=(StationaryPoint((0.9535, 0.9535), "minimum"),),
    digits=4,
)
"""b = 0.1."""

TWO_WELLS = PotentialTruth(
    name="waddington_two",
    bounds=BOUNDS,
    potential=lambda x: potential(x, 1.0),
    gradient=lambda x: gradient(x, 1.0),
    stationary_points=(
        StationaryPoint((0.4056, 1.5440), "minimum"),
        StationaryPoint((0.8135, 0.8135), "saddle"),
        StationaryPoint((1.5440, 0.4056), "minimum"),
    ),
    digits=4,
)
"""b = 1; the line x1 = x2 divides the basins."""
