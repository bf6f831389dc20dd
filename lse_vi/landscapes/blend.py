"""Blends of two landscapes, for a landscape that changes with time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lse_vi.landscapes.landscape import Landscape, period_of
from lse_vi.signatures.checked import checked


@dataclass(frozen=True)
class Mixture:
    """(1 - s) E_1 + s E_2 for one number s: a :class:`Blend` at one time, itself a landscape."""

    first: Landscape
    second: Landscape
    s: float

    @property
    def dim(self) -> int:
        """Dimension of x."""
        return self.first.dim

    @property
    def period(self) -> list[float | None]:
        """Of x, one for each coordinate, None where not periodic."""
        return [p if math.isfinite(p) else None for p in period_of(self.first).tolist()]

    def __call__(self, x: Tensor) -> Tensor:
        """E: (*sample, dim) -> (*sample)."""
        return torch.lerp(self.first(x), self.second(x), self.s)

    def gradient(self, x: Tensor) -> Tensor:
        """Grad E: (*sample, dim) -> same shape."""
        return torch.lerp(self.first.gradient(x), self.second.gradient(x), self.s)

    def hessian(self, x: Tensor) -> Tensor:
        """Second derivatives: (*sample, dim) -> (*sample, dim, dim)."""
        return torch.lerp(self.first.hessian(x), self.second.hessian(x), self.s)


@checked
@dataclass(frozen=True)
class Blend:
    """A landscape that turns from one potential into another: (1 - s(t)) E_1 + s(t) E_2.

    Use it with :func:`gradient_flow` for motion while a condition, such as a signal, changes.

    Args:
        first: E_1.
        second: E_2, of the same dimension.
        weight: s(t), a function from a time to a number.

    Raises:
        ValueError: if the dimensions or the periods differ.

    Example:
        >>> from lse_vi import LSEICNN
        >>> blend = Blend(LSEICNN(2, 1), LSEICNN(2, 3), weight=lambda t: t / (1 + t))
        >>> blend.at(3.0)(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    first: Landscape
    second: Landscape
    weight: Callable[[float], float]

    def __post_init__(self) -> None:
        if self.first.dim != self.second.dim:
            raise ValueError(
                "first and second must have the same dimension, but got "
                f"{self.first.dim} and {self.second.dim}"
            )
        periods = [period_of(landscape) for landscape in (self.first, self.second)]
        if not torch.equal(*periods):
            raise ValueError(
                "first and second must have the same period, but got "
                f"{periods[0].tolist()} and {periods[1].tolist()}"
            )

    @checked
    def at(self, t: float) -> Mixture:
        """The landscape at time t."""
        return Mixture(self.first, self.second, float(self.weight(t)))
