"""The protocol of a landscape: an energy E with two derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from lse_vi.checks import check_finite, check_points
from lse_vi.network.circle import as_period
from lse_vi.network.potential import LSEICNN


class Landscape(Protocol):
    """E with two derivatives: a :class:`lse_vi.LSEICNN`, a :class:`Blend` at one time, or yours.

    Give a class of your own these members, and make it callable with points, to use it with the
    functions of this package. Where its x is periodic, give it ``period`` too: a number or one per
    coordinate, None where not.
    """

    @property
    def dim(self) -> int:
        """Dimension of x."""

    def __call__(self, x: Tensor) -> Tensor:
        """E: (*sample, dim) -> (*sample)."""

    def gradient(self, x: Tensor) -> Tensor:
        """Grad E: (*sample, dim) -> same shape."""

    def hessian(self, x: Tensor) -> Tensor:
        """Second derivatives: (*sample, dim) -> (*sample, dim, dim)."""


@dataclass(frozen=True)
class OwnUnits:
    """A landscape in units of its own: E(x) = offset + height inner((x - shift) / scale).

    A potential that was fitted to data knows its units; any other landscape is taken as it is.
    ``turn`` is the period in these units, (dim,), infinite where x is not periodic.
    """

    inner: Landscape
    shift: Tensor
    scale: Tensor
    offset: Tensor
    height: Tensor
    turn: Tensor
    dtype: torch.dtype

    @classmethod
    def of(cls, landscape: Landscape, x: Tensor) -> OwnUnits:
        """The landscape as it is walked on from points ``x``."""
        period = period_of(landscape).to(x.device)
        if isinstance(landscape, LSEICNN) and not landscape.units.plain:
            u = landscape.units
            inner, dtype = landscape.without_units(), landscape.alpha.dtype
            turn = (period / u.scale).to(dtype)
            return cls(inner, u.shift, u.scale, u.offset, u.height, turn, dtype)
        zero = x.new_zeros(x.shape[-1])
        return cls(landscape, zero, zero + 1, zero[0], zero[0] + 1, period.to(x), x.dtype)

    def place(self, x: Tensor) -> Tensor:
        """Points in the landscape's own units."""
        return ((x.to(self.shift) - self.shift) / self.scale).to(self.dtype)

    def point(self, u: Tensor) -> Tensor:
        """Undo :meth:`place`."""
        return self.shift + self.scale * u.to(self.shift)

    def energy(self, energy: Tensor) -> Tensor:
        """Energies in the units of E."""
        return self.offset + self.height * energy.to(self.offset)

    def slope(self, now: float, u: Tensor) -> Tensor:
        """Minus the velocity of the flow at points in own units, at any time."""
        slowness = (self.scale.amin() / self.scale).square()  # c_min^2 / c_i^2, at most one
        return slowness.to(u) * self.inner.gradient(u)

    @property
    def rate(self) -> Tensor:
        """What a time is multiplied by, to be in the landscape's own units."""
        return self.height / self.scale.amin() / self.scale.amin()

    def relaxation(self, hessian: Tensor) -> Tensor:
        """Rates of the flow near a point, in own units, from the inner Hessian there: (m, dim)."""
        ratio = self.scale.amin() / self.scale
        return torch.linalg.eigvalsh(hessian.to(ratio) * ratio * ratio.unsqueeze(-1))

    def curvatures(self, hessian: Tensor) -> Tensor:
        """Eigenvalues of the Hessian of E, increasing, from that of ``inner``: (m, dim)."""
        return self.relaxation(hessian) * self.rate


def check_sample(name: str, x: Any, dim: int, dtype: torch.dtype | None = None) -> None:
    """``x`` must be a finite floating tensor (..., dim), of ``dtype`` if that is given."""
    if dtype is None and not (isinstance(x, Tensor) and x.is_floating_point()):
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} must be a tensor of floating-point numbers, but got {kind}")
    check_points(name, x, dim, dtype or x.dtype)
    check_finite(name, x)


def period_of(landscape: Landscape) -> Tensor:
    """The period of x, (dim,), infinite where not periodic.

    Example:
        >>> from lse_vi import WhitenedICNN
        >>> period_of(LSEICNN(2, 2, network=WhitenedICNN, period=(360, None)))
        tensor([360.,  inf], dtype=torch.float64)
    """
    if isinstance(landscape, LSEICNN):
        return landscape.units.period
    return as_period(getattr(landscape, "period", None), landscape.dim)
