"""The laws of the density benchmark, with their log densities: what no fit can exceed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy import stats
from scipy.special import logsumexp

from data_gen.arrays import FloatArray, IntArray

# Each has mean 0 and variance 1.
LAWS = {
    "normal": stats.norm(),
    "exponential": stats.expon(loc=-1),
    "uniform": stats.uniform(loc=-math.sqrt(3), scale=2 * math.sqrt(3)),
    "gumbel": stats.gumbel_r(
        loc=-np.euler_gamma * math.sqrt(6) / math.pi, scale=math.sqrt(6) / math.pi
    ),
    "laplace": stats.laplace(scale=math.sqrt(0.5)),
}
KINDS = {
    "log-concave": ("exponential", "uniform", "gumbel", "laplace"),
    "walls": ("exponential", "uniform"),
    "gaussian": ("normal",),
}


class Law(Protocol):
    """A law to draw from, with its density."""

    def draw(self, n: int) -> FloatArray:
        """New points at each call, (n, dim)."""
        ...

    def log_density(self, x: FloatArray) -> FloatArray:
        """(n, dim) -> (n,)."""
        ...


class ProductMixture:
    """Three rotated, stretched and shifted products of laws out of ``kinds``."""

    def __init__(self, dim: int, kinds: Sequence[str], seed: int) -> None:
        self.dim, self.rng = dim, np.random.default_rng([dim, len(kinds), seed])
        self.weights = self.rng.dirichlet(np.full(3, 5.0))
        self.parts = [
            (
                np.linalg.qr(self.rng.standard_normal((dim, dim)))[0],
                np.exp(self.rng.uniform(-0.5, 0.5, dim)),
                4 / math.sqrt(dim) * self.rng.standard_normal(dim),
                [LAWS[kind] for kind in self.rng.choice(kinds, dim)],
            )
            for _ in range(3)
        ]

    def draw(self, n: int) -> FloatArray:
        """New points at each call, (n, dim)."""
        label, x = self.rng.choice(3, n, p=self.weights), np.empty((n, self.dim))
        for k, (rotation, widths, centre, laws) in enumerate(self.parts):
            own = label == k
            u = [law.rvs(size=own.sum(), random_state=self.rng) for law in laws]
            x[own] = np.stack(u, axis=1) * widths @ rotation.T + centre
        return x

    def log_density(self, x: FloatArray) -> FloatArray:
        """(n, dim) -> (n,)."""
        log_p = []
        for weight, (rotation, widths, centre, laws) in zip(self.weights, self.parts, strict=True):
            u = (x - centre) @ rotation / widths
            of_axes = sum(law.logpdf(u[:, i]) for i, law in enumerate(laws))
            log_p.append(np.log(weight) - np.log(widths).sum() + of_axes)
        return np.asarray(logsumexp(log_p, axis=0))


class Crescents:
    """Two interlocked half circles, blurred by a tenth of their radius."""

    BLUR = 0.1

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def draw(self, n: int) -> FloatArray:
        """New points at each call, (n, 2)."""
        side = self.rng.integers(0, 2, n)
        circle = self._at(self.rng.uniform(0, math.pi, n), side)
        return circle + self.BLUR * self.rng.standard_normal((n, 2))

    def log_density(self, x: FloatArray) -> FloatArray:
        """(n, 2) -> (n,): the mean over the angle, at steps far below the blur."""
        angle = (np.arange(200) + 0.5) / 200 * math.pi
        centres = np.concatenate([self._at(angle, side) for side in (0, 1)])
        square = ((x[:, None] - centres) ** 2).sum(-1)
        log_p = logsumexp(-0.5 * square / self.BLUR**2, axis=1) - math.log(len(centres))
        return np.asarray(log_p - math.log(2 * math.pi * self.BLUR**2))

    @staticmethod
    def _at(angle: FloatArray, side: IntArray | int) -> FloatArray:
        turned = angle + math.pi * side
        return np.stack([np.cos(turned) + side, np.sin(turned) + 0.5 * side], axis=1)


def law_of(case: str, seed: int) -> Law:
    """The law of a case such as ``log-concave-4``, ``walls-2`` or ``crescents-2``."""
    family, dim = case.rsplit("-", 1)
    if family == "crescents":
        return Crescents(seed)
    return ProductMixture(int(dim), KINDS[family], seed)
