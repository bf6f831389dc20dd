r"""Free energy of a crystal that changes phase with composition: the paper's Eq. 11, corrected.

.. math::
    \Psi = {} & 96 d_c c^2 (1-c)^2 + \frac{6 d_e}{s_e^3} (1-c) I_3 \\
         & + \frac{9 d_e}{s_e^2} (2c-1) r^2 + \frac{9 d_e}{s_e^4} r^4 \\
         & + \frac{3 d_e}{2 s_e^2} (e_1^2 + e_4^2 + e_5^2 + e_6^2)

with r^2 = e_2^2 + e_3^2 and I_3 = e_3 (e_3^2 - 3 e_2^2), in the symmetry-adapted strains of
:func:`strains` (Rudraraju, Van der Ven & Garikipati 2016, doi:10.1038/npjcompumats.2016.12). At
c = 1 the cubic phase is stable, at c = 0 three tetragonal ones are. (The paper's printed exponents
are typos: its quartic term lacks s_e^4.)

The crystal is for fits of a potential to its gradient alone, in seven dimensions. A point is (E11,
E22, E33, E23, E13, E12, c), Lagrange strain and concentration, without units; Psi is an energy
density. A gradient's shear components are derivatives by E23, E13, E12 as coordinates, twice the
shear stresses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from data_gen._validate import whole_number
from data_gen.arrays import FloatArray
from data_gen.truth import PotentialTruth, StationaryPoint

D_C, D_E, S_E = 2.0, 0.1, 0.1
BOUNDS = np.array([[-0.2, 0.2]] * 6 + [[0.0, 1.0]])
COORDINATES = ("E11", "E22", "E33", "E23", "E13", "E12", "c")

_TO_STRAINS = np.zeros((6, 6))  # e = _TO_STRAINS (E11, E22, E33, E23, E13, E12)
_TO_STRAINS[0, :3] = np.array([1, 1, 1]) / np.sqrt(3)
_TO_STRAINS[1, :3] = np.array([1, -1, 0]) / np.sqrt(2)
_TO_STRAINS[2, :3] = np.array([1, 1, -2]) / np.sqrt(6)
_TO_STRAINS[3:, 3:] = np.sqrt(2) * np.eye(3)


def strains(x: FloatArray) -> FloatArray:
    """e_1, ..., e_6 at points (..., 7): trace, two deviatoric ones, three shears; (..., 6).

    Example:
        >>> strains(np.array([0.1, 0.1, 0.1, 0.0, 0.0, 0.0, 0.5])).round(4).tolist()
        [0.1732, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    return x[..., :6] @ _TO_STRAINS.T


def potential(x: FloatArray) -> FloatArray:
    """Psi at points (..., 7): shape (...).

    Example:
        >>> potential(np.array(TETRAGONAL_WELLS)).round(6).tolist()
        [-0.6, -0.6, -0.6]
    """
    e1, e2, e3, e4, e5, e6 = np.moveaxis(strains(x), -1, 0)
    c = x[..., 6]
    r2, i3 = e2**2 + e3**2, e3 * (e3**2 - 3 * e2**2)
    return (
        96 * D_C * c**2 * (1 - c) ** 2
        + 6 * D_E / S_E**3 * (1 - c) * i3
        + 9 * D_E / S_E**2 * (2 * c - 1) * r2
        + 9 * D_E / S_E**4 * r2**2
        + 3 * D_E / (2 * S_E**2) * (e1**2 + e4**2 + e5**2 + e6**2)
    )


def gradient(x: FloatArray) -> FloatArray:
    """Stress and chemical potential at points (..., 7): (dPsi/dE11, ..., dPsi/dE12, dPsi/dc).

    Example:
        >>> gradient(np.zeros((5, 7))).shape
        (5, 7)
    """
    e = strains(x)
    e2, e3, c = e[..., 1], e[..., 2], x[..., 6]
    r2, i3 = e2**2 + e3**2, e3 * (e3**2 - 3 * e2**2)
    cubic = 6 * D_E / S_E**3 * (1 - c)
    radial = 18 * D_E / S_E**2 * (2 * c - 1) + 36 * D_E / S_E**4 * r2
    by_strain = 3 * D_E / S_E**2 * e
    by_strain[..., 1] = -6 * cubic * e2 * e3 + radial * e2
    by_strain[..., 2] = 3 * cubic * (e3**2 - e2**2) + radial * e3
    by_c = 192 * D_C * c * (1 - c) * (1 - 2 * c) - 6 * D_E / S_E**3 * i3 + 18 * D_E / S_E**2 * r2
    return np.concatenate([by_strain @ _TO_STRAINS, by_c[..., None]], axis=-1)


def sample(n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Points drawn uniformly from the bounds and the gradients there: (n, 7) and (n, 7).

    Raises:
        TypeError: if n or seed is not an integer.
        ValueError: if n is below 1 or seed is negative.

    Example:
        >>> x, gradient = sample(800, seed=0)
        >>> x.shape, gradient.shape
        ((800, 7), (800, 7))
    """
    whole_number("n", n, minimum=1)
    rng = np.random.default_rng(whole_number("seed", seed, minimum=0))
    x = rng.uniform(BOUNDS[:, 0], BOUNDS[:, 1], size=(n, 7))
    return x, gradient(x)


def path(t: ArrayLike) -> FloatArray:
    """The path of the paper's Eq. 16 at t in [0, 1]: (times, 7); within the bounds up to t = 0.5.

    E(t) = 0.4 t (e1 e1 - 0.3 (I - e1 e1)), c(t) = t.

    Example:
        >>> path(0.5).round(3).tolist()
        [0.2, -0.06, -0.06, 0.0, 0.0, 0.0, 0.5]
    """
    direction = np.array([0.4, -0.12, -0.12, 0.0, 0.0, 0.0, 1.0])
    return np.asarray(t, dtype=float)[..., None] * direction


def _at(e2: float, e3: float, c: float) -> tuple[float, ...]:
    normal = np.array([0.0, e2, e3, 0.0, 0.0, 0.0]) @ _TO_STRAINS
    return (*normal.tolist(), c)


def _around(r: float, c: float) -> tuple[StationaryPoint, ...]:
    """Three saddles at distance r from the cubic axis, related by the cubic symmetry."""
    turns = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
    return tuple(
        StationaryPoint(_at(r * np.cos(turn), r * np.sin(turn), c), "saddle") for turn in turns
    )


TRUTH = PotentialTruth(
    name="mechanochemistry",
    bounds=BOUNDS,
    potential=potential,
    gradient=gradient,
    stationary_points=(
        StationaryPoint(_at(0, 0, 1), "minimum"),
        StationaryPoint(_at(0, 0, 0.5), "saddle"),
        StationaryPoint(_at(0, 0, 0), "saddle"),
        *_around(-0.024718, 0.500620),
    ),
    digits=5,
)
"""The tetragonal wells lie at c = -0.0062, just outside: at c = 0 only the strain is at rest."""

TETRAGONAL_WELLS = tuple(
    _at(S_E * np.cos(turn), S_E * np.sin(turn), 0.0)
    for turn in -np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
)
"""The minima by strain at c = 0, where Psi = -0.6."""
