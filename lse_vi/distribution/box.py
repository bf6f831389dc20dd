"""The bounded support of a density: a box; None stands for all of R^d."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Box(NamedTuple):
    """An axis-aligned box with corners ``low`` and ``high``, (dim,); make it with :meth:`of`."""

    low: Tensor
    high: Tensor

    @property
    def width(self) -> Tensor:
        """Lengths of the sides, (dim,)."""
        return self.high - self.low

    @property
    def log_volume(self) -> Tensor:
        """log of the volume."""
        return self.width.log().sum()

    def contains(self, x: Tensor) -> Tensor:
        """Whether each point is inside: (*shape, dim) -> (*shape)."""
        return ((x >= self.low) & (x <= self.high)).all(-1)

    def to(self, dtype: torch.dtype) -> Box:
        """The same box in another precision."""
        return Box(self.low.to(dtype), self.high.to(dtype))

    @classmethod
    def of(cls, bounds: Any, dim: int, like: Tensor) -> Box:
        """A box from ``bounds`` = (low, high), each a number or ``dim`` numbers.

        Args:
            bounds: as users give them, in the units of x.
            dim: dimension of x.
            like: a tensor of the dtype and device that the box gets.

        Raises:
            ValueError: if there are not two bounds of the right length, one is not finite, or
                low >= high.

        Example:
            >>> Box.of((0, [1, 2]), 2, torch.zeros(())).width
            tensor([1., 2.])
        """
        try:
            low, high = (torch.as_tensor(b).to(like) for b in bounds)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"bounds must be a pair (low, high), but got {bounds!r}") from error
        if low.shape not in ((), (dim,)) or high.shape not in ((), (dim,)):
            raise ValueError(
                f"bounds must hold a number or {dim} numbers each (one per coordinate), "
                f"but got shapes {tuple(low.shape)} and {tuple(high.shape)}"
            )
        if not bool((low.isfinite() & high.isfinite()).all()):
            raise ValueError(
                f"bounds must be finite, but got low={low.tolist()}, high={high.tolist()}; "
                "bounds=None is all of R^d"
            )
        if not bool((low < high).all()):
            raise ValueError(
                f"bounds must have low < high in every coordinate, but got low={low.tolist()}, "
                f"high={high.tolist()}"
            )
        return cls(low.expand(dim).clone(), high.expand(dim).clone())
