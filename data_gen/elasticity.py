r"""An elastic material with two phases and a memory (Sec. 4.3 and App. A of the paper).

A metamaterial that snaps between two states, after Rossi et al., cited in the paper. With strain
E (3 x 3, symmetric), share c in [0, 1] of the second phase and E0 = EPS0 e1 e1,

.. math::
    \Psi(E, c) &= \tfrac12 (E - c E_0) : C : (E - c E_0) + c\, \Delta\psi, \\
    S &= \partial_E \Psi = C : (E - c E_0), \\
    \kappa &= -\partial_c \Psi = S : E_0 - \Delta\psi

with C E = K tr(E) I + 2 G dev(E). The share grows at kappa = k+, shrinks at kappa = -k- and rests
in between. Nothing depends on time, only on the order in which strains are met: the paper's
Eq. A-9, a rate c' = +-k, is not that of a rate-independent material; its Eq. A-12 is, and is used
here. All numbers are without units (Table 1). The material is for models with a memory, as its
stress depends on the path of the strain.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from data_gen._validate import whole_number
from data_gen.arrays import FloatArray
from data_gen.truth import PotentialTruth, StationaryPoint

BULK, SHEAR = 1.0, 0.5
EPS0 = -0.1
"""The strain E11 that turns the first phase into the second at rest."""

ENERGY_GAP = 0.006
K_FORWARD = K_REVERSE = 0.006
"""Delta psi, and the thresholds k+ and k- of the conjugate force."""

FORWARD_STRAINS, FORWARD_STRESS = (-0.072, -0.172), -0.12
REVERSE_STRAINS, REVERSE_STRESS = (-0.1, 0.0), 0.0
"""In uniaxial strain: E11 where the change of phase begins and ends, and the plateau of S11."""

CYCLE_DISSIPATION = K_FORWARD + K_REVERSE
"""Energy lost in a full cycle, forward and back, per volume."""

PEAKS = (0.05, 0.25)
CYCLES = (2, 4)
"""Of a random sawtooth: range of the peak compressions and of the number of cycles."""

_E0 = np.diag([EPS0, 0.0, 0.0])
_HARDENING = EPS0**2 * (BULK + 4 * SHEAR / 3)  # E0 : C : E0, by which kappa falls from c=0 to c=1


class Response(NamedTuple):
    """What the material does along paths of strain.

    Attributes:
        phase: c, (*paths, times).
        stress: S, (*paths, times, 3, 3).
        force: kappa, (*paths, times).
        dissipation: energy lost per volume in the step up to each time, (*paths, times).

    Example:
        >>> response = respond(uniaxial(sawtooth(4, points=50)))
        >>> response.phase.shape, response.stress.shape
        ((4, 50), (4, 50, 3, 3))
    """

    phase: FloatArray
    stress: FloatArray
    force: FloatArray
    dissipation: FloatArray


def energy(strain: ArrayLike, phase: ArrayLike) -> FloatArray:
    """Psi at strains (*shape, 3, 3) and shares of the second phase (*shape): (*shape).

    Raises:
        ValueError: if the strains are not symmetric, not finite or of another shape.

    Example:
        >>> float(energy(uniaxial(EPS0), 1.0))  # the second phase at rest
        0.006
    """
    elastic, c = _elastic(strain, phase)
    return 0.5 * np.einsum("...ij,...ij->...", elastic, _stiffness(elastic)) + c * ENERGY_GAP


def stress(strain: ArrayLike, phase: ArrayLike) -> FloatArray:
    """S = dPsi/dE, (*shape, 3, 3), for the arguments of `energy`.

    Example:
        >>> stress(np.zeros((3, 3)), 0.5).round(4).diagonal().tolist()  # fixed at c = 0.5
        [0.0833, 0.0333, 0.0333]
    """
    return _stiffness(_elastic(strain, phase)[0])


def conjugate_force(strain: ArrayLike, phase: ArrayLike) -> FloatArray:
    """kappa = -dPsi/dc, (*shape), for the arguments of `energy`.

    Example:
        >>> round(float(conjugate_force(uniaxial(FORWARD_STRAINS[0]), 0.0)), 6)  # k+: c grows
        0.006
    """
    return np.einsum("...ij,ij->...", stress(strain, phase), _E0) - ENERGY_GAP


def respond(strain: ArrayLike) -> Response:
    r"""The exact response to paths of strain from E = 0 and c = 0, straight between the samples.

    With the trial force kt = kappa(E, c_n), of which c moves only the part beyond a threshold,

    .. math::
        c_{n+1} &= \mathrm{clip}(c_n + \Delta, 0, 1), \\
        \Delta &= \big(\min(kt + k_-, 0) + \max(kt - k_+, 0)\big) / A

    and A = E0:C:E0 (Eq. A-12). kappa changes monotonically along a straight step, so there is no
    error of discretisation; the step dissipates k+ or k- times the change of c.

    Args:
        strain: E, (*paths, times, 3, 3), symmetric.

    Raises:
        ValueError: if the strains are not symmetric, not finite or of another shape.

    Example:
        >>> there_and_back = uniaxial([0.0, -0.122, -0.2, -0.05, 0.0])
        >>> response = respond(there_and_back)
        >>> response.phase.round(6).tolist()
        [0.0, 0.5, 1.0, 0.5, 0.0]
        >>> round(float(response.dissipation.sum()), 6)
        0.012
    """
    e = _strain(strain)
    if e.ndim < 3:
        raise ValueError(f"strain must have shape (*paths, times, 3, 3), but got {e.shape}")
    driving = conjugate_force(e, 0.0)  # kappa = driving - c A
    phase = np.empty(e.shape[:-2])
    before = np.zeros(e.shape[:-3])
    for n in range(e.shape[-3]):
        trial = driving[..., n] - _HARDENING * before
        beyond = np.minimum(trial + K_REVERSE, 0.0) + np.maximum(trial - K_FORWARD, 0.0)
        before = np.clip(before + beyond / _HARDENING, 0.0, 1.0)
        phase[..., n] = before
    change = np.diff(phase, axis=-1, prepend=0.0)
    lost = np.where(change > 0, K_FORWARD, -K_REVERSE) * change
    return Response(phase, stress(e, phase), conjugate_force(e, phase), lost)


def uniaxial(e11: ArrayLike) -> FloatArray:
    """Strains (*shape, 3, 3) of which only E11, (*shape), is not zero.

    Example:
        >>> uniaxial([0.0, -0.1]).shape
        (2, 3, 3)
    """
    e11 = np.asarray(e11, dtype=np.float64)
    strain = np.zeros((*e11.shape, 3, 3))
    strain[..., 0, 0] = e11
    return strain


def sawtooth(
    paths: int, *, points: int = 101, peaks: tuple[float, float] = PEAKS, seed: int = 0
) -> FloatArray:
    """E11 of random sawtooth paths at evenly spaced times, (paths, points).

    Two to four cycles from 0 into compression and back; each ramp with its own duration, each peak
    uniform in a range. Half the valleys inside a path are 0, the others lie anywhere below both
    neighbouring peaks, so that inner loops are met. Every path ends at 0, with the first phase
    alone: its work is what it dissipates. Every turning point is one of the samples.

    Args:
        paths: how many.
        points: samples per path, at least 30.
        peaks: range of the peak compressions; paths stay elastic below -FORWARD_STRAINS[0], 0.072.
        seed: two calls with one seed agree.

    Raises:
        TypeError: if an argument is not an integer.
        ValueError: if paths is below 1, points below 30, or the seed negative; for a range of peaks
            that is not 0 < lowest <= highest.

    Example:
        >>> sawtooth(400).shape
        (400, 101)
    """
    whole_number("paths", paths, minimum=1)
    whole_number("points", points, minimum=30)
    if not 0.0 < peaks[0] <= peaks[1] < np.inf:
        raise ValueError(f"peaks must be a range, 0 < lowest <= highest, but got {peaks}")
    rng = np.random.default_rng(seed)
    return np.stack([_one_sawtooth(points, peaks, rng) for _ in range(paths)])


def _one_sawtooth(points: int, peaks: tuple[float, float], rng: np.random.Generator) -> FloatArray:
    cycles = int(rng.integers(CYCLES[0], CYCLES[1] + 1))
    depths = rng.uniform(*peaks, cycles)
    lowest = np.minimum(depths[:-1], depths[1:])
    valleys = lowest * rng.uniform(size=cycles - 1) * (rng.uniform(size=cycles - 1) < 0.5)
    turns = np.zeros(2 * cycles + 1)
    turns[1::2] = -depths
    turns[2:-1:2] = -valleys
    durations = rng.uniform(0.5, 1.5, 2 * cycles).cumsum()
    knots = np.rint(np.append(0.0, durations / durations[-1]) * (points - 1))
    return np.interp(np.arange(points), knots, turns)


def _stiffness(strain: FloatArray) -> FloatArray:
    """C : E, (*shape, 3, 3)."""
    trace = np.trace(strain, axis1=-2, axis2=-1)[..., None, None] * np.eye(3)
    return BULK * trace + 2 * SHEAR * (strain - trace / 3)


def _elastic(strain: ArrayLike, phase: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """E - c E0 and c, of one shape (*shape)."""
    e, c = _strain(strain), np.asarray(phase, dtype=np.float64)
    return e - c[..., None, None] * _E0, c


def _strain(value: ArrayLike) -> FloatArray:
    e = np.asarray(value, dtype=np.float64)
    if e.shape[-2:] != (3, 3):
        raise ValueError(f"strain must have shape (..., 3, 3), but got {e.shape}")
    if not np.isfinite(e).all():
        raise ValueError(f"strain must be finite, but got {e[~np.isfinite(e)][0]}")
    skew = np.abs(e - e.swapaxes(-1, -2)).max(initial=0.0)
    if skew > 1e-12 * max(1.0, np.abs(e).max(initial=0.0)):
        raise ValueError(f"strain must be symmetric, but E and its transpose differ by {skew}")
    return e


def _tensor(components: FloatArray) -> FloatArray:
    """Symmetric tensors from their components (points, 6): 11, 22, 33, sqrt2 (23, 13, 12)."""
    e = np.zeros((len(components), 3, 3))
    e[:, [0, 1, 2], [0, 1, 2]] = components[:, :3]
    for k, (i, j) in enumerate([(1, 2), (0, 2), (0, 1)], start=3):
        e[:, i, j] = e[:, j, i] = components[:, k] / np.sqrt(2)
    return e


def _components(e: FloatArray) -> FloatArray:
    """The inverse of `_tensor`; an orthonormal basis, so gradients carry over."""
    return np.concatenate(
        [e[:, [0, 1, 2], [0, 1, 2]], np.sqrt(2) * e[:, [1, 0, 0], [2, 2, 1]]], axis=1
    )


FIXED_PHASE = 0.5

TRUTH = PotentialTruth(
    name="elasticity at c = 0.5",
    bounds=np.tile([-0.25, 0.25], (6, 1)),
    potential=lambda x: energy(_tensor(x), FIXED_PHASE),
    gradient=lambda x: _components(stress(_tensor(x), FIXED_PHASE)),
    stationary_points=(StationaryPoint((FIXED_PHASE * EPS0, 0.0, 0.0, 0.0, 0.0, 0.0), "minimum"),),
    digits=9,
)
