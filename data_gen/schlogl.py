r"""The Schlögl network: one species, four reactions, two stable states.

.. math::

    A + 2X \rightleftharpoons 3X, \qquad B \rightleftharpoons X

with A and B held constant (Schlögl 1972, doi:10.1007/BF01379769). Counts are copies of X; time is
in the unit of the rates. The network is for densities fitted to counts: the master equation gives
the exact law at every time.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike

from data_gen import master_equation
from data_gen.arrays import FloatArray
from data_gen.networks import MassAction, ReactionNetwork
from data_gen.truth import PotentialTruth, StationaryPoint

K1, K2, K3, K4 = 3e-7, 1e-4, 1e-3, 3.5
A, B = 1e5, 2e5
X0 = 250
"""The count at time 0, close to the unstable fixed point."""

N_MAX = 1200
"""The largest count of the exact laws; the probability beyond it is below 1e-50."""

LOW_MAX = 260
"""Counts up to here belong to the low mode."""

FIXED_POINTS = (85.49, 247.60, 566.91)
"""Zeros of the rate equation to two decimals; the middle one is unstable."""

STATIONARY_MODES = (82, 563)
STATIONARY_LOW_MASS = 0.2203
"""Where the stationary law peaks, and its probability of n <= LOW_MAX."""

LOW_MASS_AT_10 = 0.513
BIMODAL_FROM = 2.0
"""From X0: the probability of n <= LOW_MAX at t = 10, and when a second peak has appeared."""


def network() -> ReactionNetwork:
    """The four reactions: birth K1 A n(n-1)/2 + K3 B, death K2 n(n-1)(n-2)/6 + K4 n.

    Example:
        >>> network()
        ReactionNetwork of 1 species, 4 reactions, MassAction
          0: 2 X -> 3 X    rate 0.03
          1: 3 X -> 2 X    rate 0.0001
          2: 0 -> X    rate 200
          3: X -> 0    rate 3.5
    """
    return ReactionNetwork(
        ["X"],
        [[1], [-1], [1], [-1]],
        MassAction(rates=[K1 * A, K2, K3 * B, K4], orders=[[2], [3], [0], [1]]),
    )


def law(t: ArrayLike) -> FloatArray:
    """Exact probabilities of the counts 0..N_MAX at time t, from X0 at time 0.

    Args:
        t: a time >= 0, or times in any order, shape (times,).

    Returns:
        Shape (N_MAX + 1,) for one time, (times, N_MAX + 1) for several.

    Raises:
        ValueError: if a time is negative, NaN or infinite.

    Example:
        >>> law([0.0, 10.0]).shape
        (2, 1201)
        >>> round(float(law(10.0)[: LOW_MAX + 1].sum()), 3)
        0.513
    """
    laws = master_equation.transient_law(network(), X0, np.atleast_1d(t), N_MAX)
    return laws if np.ndim(t) else laws[0]


def stationary() -> FloatArray:
    """Exact probabilities of the counts 0..N_MAX in the long run, shape (N_MAX + 1,).

    Example:
        >>> round(float(stationary()[: LOW_MAX + 1].sum()), 4)
        0.2203
    """
    return master_equation.stationary_law(network(), N_MAX)


def drift() -> Polynomial:
    """The rate equation dx/dt = K1 A x^2/2 - K2 x^3/6 + K3 B - K4 x, copies per unit of time.

    It is the limit of many copies, where n(n-1) becomes x^2.

    Example:
        >>> float(drift()(0.0))
        200.0
    """
    return Polynomial([K3 * B, -K4, K1 * A / 2, -K2 / 6])


def potential() -> Polynomial:
    """U with dU/dx = -drift: its minima are the stable fixed points.

    Example:
        >>> low, middle, high = potential()(fixed_points())
        >>> bool(low < middle > high)
        True
    """
    return -drift().integ()


def fixed_points() -> FloatArray:
    """Zeros of the drift in increasing order, shape (3,).

    Example:
        >>> fixed_points().round(2).tolist()
        [85.49, 247.6, 566.91]
    """
    return drift().roots().real


TRUTH = PotentialTruth(
    name="schlogl",
    bounds=np.array([[0.0, 800.0]]),
    potential=lambda x: potential()(x[:, 0]),
    gradient=lambda x: -drift()(x),
    stationary_points=(
        StationaryPoint((FIXED_POINTS[0],), "minimum"),
        StationaryPoint((FIXED_POINTS[1],), "maximum"),
        StationaryPoint((FIXED_POINTS[2],), "minimum"),
    ),
    digits=2,
)
