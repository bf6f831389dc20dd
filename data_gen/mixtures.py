"""Laws with one to four modes and known truth, to ask how many modes a method finds.

Each is a mixture of normals. Those in ``SEPARATED`` have modes far apart, which any method must
find. With ``OVERLAPPING`` no method can be sure: its equal halves are 2.3 standard deviations apart
(from 2 on there are two peaks), the dip is 5 % of the peaks' height, and the nearest law with a
single peak is 7e-5 nats away, so that 300 points are expected to give 0.02 nats of evidence
between the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from data_gen._validate import whole_number
from data_gen.arrays import FloatArray


@dataclass(frozen=True)
class NormalMixture:
    """A mixture of normals in one dimension.

    Attributes:
        name: of the law.
        weights: of the parts; they sum to one.
        means, deviations: of the parts.
        peaks: number of local maxima of the density.

    Example:
        >>> TWO.sample(5, seed=0).shape, round(float(TWO.cdf(0.0)), 3)
        ((5,), 0.413)
    """

    name: str
    weights: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    peaks: int

    def sample(self, n: int, seed: int) -> FloatArray:
        """Independent draws, (n,)."""
        rng = np.random.default_rng(seed)
        part = rng.choice(len(self.weights), whole_number("n", n, minimum=1), p=self.weights)
        noise = rng.standard_normal(n)
        return np.asarray(self.means)[part] + np.asarray(self.deviations)[part] * noise

    def density(self, x: ArrayLike) -> FloatArray:
        """The density, of the shape of ``x``."""
        z = self._standard(x)
        parts = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) / np.asarray(self.deviations)
        return np.asarray(parts @ np.asarray(self.weights))

    def cdf(self, x: ArrayLike) -> FloatArray:
        """The cumulative distribution, of the shape of ``x``."""
        return np.asarray(ndtr(self._standard(x)) @ np.asarray(self.weights))

    def _standard(self, x: ArrayLike) -> FloatArray:
        gap = np.asarray(x, dtype=float)[..., None] - np.asarray(self.means)
        return np.asarray(gap / np.asarray(self.deviations))


ONE = NormalMixture("one", (1.0,), (0.0,), (1.0,), 1)
TWO = NormalMixture("two", (0.4, 0.6), (-3.0, 2.0), (1.0, 1.0), 2)
THREE = NormalMixture("three", (0.3, 0.4, 0.3), (-5.0, 0.0, 5.0), (1.0, 1.0, 1.0), 3)
FOUR = NormalMixture("four", (0.25,) * 4, (-7.5, -2.5, 2.5, 7.5), (1.0,) * 4, 4)
OVERLAPPING = NormalMixture("overlapping", (0.5, 0.5), (-1.15, 1.15), (1.0, 1.0), 2)

SEPARATED = (ONE, TWO, THREE, FOUR)
LAWS = {law.name: law for law in (*SEPARATED, OVERLAPPING)}
