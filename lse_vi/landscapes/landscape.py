"""The protocol of a landscape: an energy E with two derivatives."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from lse_vi.checks import check_finite, check_points


class Landscape(Protocol):
    """E with two derivatives: a :class:`lse_vi.LSEICNN`, a :class:`Blend` at one time, or yours.

    Give a class of your own these four members to use it with the functions of this package.
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


def check_sample(name: str, x: Any, dim: int, dtype: torch.dtype | None = None) -> None:
    """``x`` must be a finite floating tensor (..., dim), of ``dtype`` if that is given."""
    if dtype is None and not (isinstance(x, Tensor) and x.is_floating_point()):
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} must be a tensor of floating-point numbers, but got {kind}")
    check_points(name, x, dim, dtype or x.dtype)
    check_finite(name, x)
