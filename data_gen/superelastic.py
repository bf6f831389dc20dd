r"""A superelastic wire in tension and compression: stress with loops, exact for every path.

With strain e, stress s and shares z_j in [0, 1] of transformations in series, each of strain e_j,

.. math:: s = E \Big(e - \sum_j e_j z_j\Big)

z_j grows where the stress, taken in the direction of e_j, exceeds up_j + H_j z_j; it shrinks where
it falls below down_j + H_j z_j, and rests in between. Of one transformation this is the law

.. math:: z_{n+1} = \mathrm{clip}\Big(z_n,\; \frac{E e - up}{H + E e_0},\;
    \frac{E e - down}{H + E e_0}\Big), \\
    \text{both clipped to } [0, 1]

It is a generalised standard material: the conjugate force of z is Y = e_0 (s - H z) + const, with
A = E e_0^2 + H e_0 and k+ + k- = e_0 (up - down) in the letters of :class:`lse_vi.Play`. Stresses
are in MPa, strains are pure numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from data_gen._validate import positive, real_array, whole_number
from data_gen.arrays import FloatArray

MODULUS = 40e3
"""E, in MPa."""

ROWS = (280, 520)
LOOPS = (3, 6)
"""Of a test: range of the number of rows, and of the number of loops."""

NOISE, STRAIN_NOISE = 4.0, 2e-5
"""Standard deviations of what the machine adds to stress (MPa) and strain."""

INTERVAL = 0.5
"""Between two rows of a test, in s."""

SETTLED = 1e-14  # change of the shares at which the sweeps over several transformations end
SWEEPS = 1000


@dataclass(frozen=True)
class Transformation:
    """One transformation.

    Attributes:
        strain: e_j, of the whole of it; negative for one in compression.
        up, down: stresses at which it begins to go forward, and ends on its way back; MPa, taken
            in the direction of ``strain``.
        hardening: H, by which both rise as z goes from 0 to 1, MPa.
    """

    strain: float = 0.04
    up: float = 400.0
    down: float = 200.0
    hardening: float = 0.0

    def mixing(self, modulus: float) -> float:
        """A = E e_0^2 + H |e_0|, in MPa."""
        return modulus * self.strain**2 + self.hardening * abs(self.strain)

    @property
    def threshold(self) -> float:
        """k+ + k- = |e_0| (up - down), the energy that a full loop dissipates, in MPa."""
        return abs(self.strain) * (self.up - self.down)


class Response(NamedTuple):
    """What a wire does along a path of strain.

    Attributes:
        share: z, (times, transformations).
        stress: MPa, (times,).
        dissipation: energy lost per volume in the step up to each time, MPa, (times,).
    """

    share: FloatArray
    stress: FloatArray
    dissipation: FloatArray


class Record(NamedTuple):
    """What a machine writes: three columns of one length.

    Attributes:
        time: in seconds.
        strain: a pure number.
        stress: MPa.
    """

    time: FloatArray
    strain: FloatArray
    stress: FloatArray


@dataclass(frozen=True)
class Wire:
    """A wire with its transformations.

    Attributes:
        transformations: in series.
        modulus: E, MPa.

    Example:
        >>> wire = Wire()
        >>> response = wire.respond([0.0, 0.03, 0.06, 0.03, 0.0])
        >>> response.stress.round(6).tolist(), response.share[:, 0].round(6).tolist()
        ([0.0, 400.0, 800.0, 200.0, 0.0], [0.0, 0.5, 1.0, 0.625, 0.0])
        >>> round(float(response.dissipation.sum()), 6), wire.transformations[0].threshold
        (8.0, 8.0)
    """

    transformations: tuple[Transformation, ...] = (Transformation(),)
    modulus: float = field(default=MODULUS)

    def __post_init__(self) -> None:
        positive("modulus", self.modulus)
        for t in self.transformations:
            if not (t.strain and t.up > t.down and t.hardening >= 0):
                raise ValueError(
                    f"transformations must have a strain that is not 0, up > down and hardening "
                    f">= 0, but got {t}"
                )

    def respond(self, strain: ArrayLike) -> Response:
        """The exact response to a path from z = 0, straight between its samples.

        With several transformations, each step minimises the convex energy over all shares, by
        sweeps of exact minimisations over one.

        Args:
            strain: (times,).
        """
        e = real_array("strain", strain, ndim=1)
        size = np.array([t.strain for t in self.transformations])
        sign, size = np.sign(size), np.abs(size)
        up, down, hardening = (
            np.array([getattr(t, name) for t in self.transformations])
            for name in ("up", "down", "hardening")
        )
        steep = hardening + self.modulus * size
        share, z = np.empty((len(e), len(size))), np.zeros(len(size))
        for n, strain_now in enumerate(e):
            before = z.copy()
            for _ in range(SWEEPS):
                last = z.copy()
                for j in range(len(size)):
                    z[j] = 0.0
                    push = sign[j] * self.modulus * (strain_now - (sign * size * z).sum())
                    low, high = (push - up[j]) / steep[j], (push - down[j]) / steep[j]
                    z[j] = np.clip(np.clip(before[j], low, high), 0.0, 1.0)
                if np.abs(z - last).max(initial=0.0) < SETTLED:
                    break
            share[n] = z
        stress = self.modulus * (e - share @ (sign * size))
        change = np.diff(share, axis=0, prepend=0.0)
        # k+ and k- are half their sum each: no stress tells them apart.
        lost = (np.abs(change) * size * (up - down) / 2).sum(-1)
        return Response(share, stress, lost)

    def tests(
        self,
        count: int = 5,
        *,
        peak: float = 0.06,
        noise: float = NOISE,
        strain_noise: float = STRAIN_NOISE,
        both_sides: bool = False,
        seed: int = 0,
    ) -> list[Record]:
        """Tests of one wire each, as a machine writes them, to a largest strain of ``peak``.

        Args:
            count: number of tests.
            peak: strain at the top of the last loop.
            noise, strain_noise: standard deviations of the errors of stress and strain; the wire
                follows the strain without its error.
            both_sides: every other loop goes into compression.
            seed: two calls with one seed agree.

        Example:
            >>> tests = Wire().tests(2)
            >>> [column.shape == tests[0].time.shape for column in tests[0]]
            [True, True, True]
        """
        whole_number("count", count, minimum=1)
        rng = np.random.default_rng(seed)
        return [self._test(peak, noise, strain_noise, both_sides, rng) for _ in range(count)]

    def _test(
        self,
        peak: float,
        noise: float,
        strain_noise: float,
        both_sides: bool,
        rng: np.random.Generator,
    ) -> Record:
        strain = growing_loops(peak, rng, both_sides=both_sides)
        stress = self.respond(strain).stress + noise * rng.standard_normal(len(strain))
        measured = strain + strain_noise * rng.standard_normal(len(strain))
        return Record(np.arange(len(strain), dtype=np.float64) * INTERVAL, measured, stress)


def growing_loops(peak: float, rng: np.random.Generator, *, both_sides: bool = False) -> FloatArray:
    """Strains of a test of three to six loops that grow to ``peak``, with rows evenly in time.

    Each loop but the last ends above zero half the time, so that some loops are inner ones.

    Example:
        >>> strain = growing_loops(0.06, np.random.default_rng(0))
        >>> bool(280 <= len(strain) <= 520), float(strain.max()), float(strain[0])
        (True, 0.06, 0.0)
    """
    loops = int(rng.integers(LOOPS[0], LOOPS[1] + 1))
    rows = int(rng.integers(ROWS[0], ROWS[1] + 1))
    peaks = peak * np.sort(rng.uniform(0.25, 1.0, loops))
    peaks[-1] = peak
    valleys = peaks * rng.uniform(0.0, 0.7, loops) * (rng.uniform(size=loops) < 0.5)
    valleys[-1] = 0.0
    if both_sides:
        peaks[-2] = peak  # the largest loop of either side
        peaks[::2] *= -1
        valleys[:] = 0.0
    turns = np.concatenate([[0.0], np.stack([peaks, valleys], axis=1).ravel()])
    distance = np.append(0.0, np.abs(np.diff(turns)).cumsum())
    knots = np.rint(distance / distance[-1] * (rows - 1))
    return np.interp(np.arange(rows, dtype=np.float64), knots, turns)
