"""The support of a density: a box, some sides of which may be open; None stands for R^d."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lse_vi.checks import shown


class Box(NamedTuple):
    """An axis-aligned box with corners ``low`` and ``high``, (dim,); make it with :meth:`of`.

    A side may be infinite, as for waiting times, which are positive.
    """

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

    @property
    def finite(self) -> bool:
        """Whether all sides are."""
        return bool(self.low.isfinite().all() & self.high.isfinite().all())

    def contains(self, x: Tensor) -> Tensor:
        """Whether each point is inside: (*shape, dim) -> (*shape)."""
        return ((x >= self.low) & (x <= self.high)).all(-1)

    def check_holds(self, parts: Iterable[Tensor]) -> None:
        """All points must lie in the box; ``parts`` are of shape (*shape, dim) each.

        Raises:
            ValueError: if some do not.
        """
        inside = [self.contains(part) for part in parts]
        outside = sum(int((~part).sum()) for part in inside)
        if outside:
            raise ValueError(
                f"bounds: {outside} of the {sum(part.numel() for part in inside)} points lie "
                f"outside low={self.low.tolist()}, high={self.high.tolist()}; give wider bounds, "
                f"or leave these points out{_transposed(len(self.low))}"
            )

    def to(self, dtype: torch.dtype) -> Box:
        """The same box in another precision."""
        return Box(self.low.to(dtype), self.high.to(dtype))

    @classmethod
    def of(cls, bounds: Any, dim: int, like: Tensor) -> Box:
        """A box from ``bounds`` = (low, high), each a number or ``dim`` numbers; None for open.

        Args:
            bounds: as users give them, in the units of x.
            dim: dimension of x.
            like: a tensor of the dtype and device that the box gets.

        Raises:
            ValueError: if there are not two bounds of the right length, one is NaN, all are
                infinite, or low >= high.

        Example:
            >>> Box.of((0, [1, 2]), 2, torch.zeros(())).width
            tensor([1., 2.])
            >>> Box.of((0, None), 1, torch.zeros(())).high
            tensor([inf])
        """
        try:
            first, last = bounds
            low, high = _side(first, -math.inf).to(like), _side(last, math.inf).to(like)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"bounds must be a pair (low, high){_per_coordinate(dim)}, but got {shown(bounds)}"
            ) from error
        if low.shape not in ((), (dim,)) or high.shape not in ((), (dim,)):
            raise ValueError(
                f"bounds must hold a number or {dim} numbers each (one per coordinate), "
                f"but got shapes {tuple(low.shape)} and {tuple(high.shape)}"
            )
        if bool(low.isnan().any() | high.isnan().any()):
            raise ValueError(
                f"bounds must be numbers, or None for an open side, but got low={low.tolist()}, "
                f"high={high.tolist()}"
            )
        if not bool(low.isfinite().any() | high.isfinite().any()):
            raise ValueError(
                f"bounds must have a finite side, but got low={low.tolist()}, "
                f"high={high.tolist()}; bounds=None is all of R^d"
            )
        if not bool((low < high).all()):
            raise ValueError(
                f"bounds must have low < high in every coordinate, but got low={low.tolist()}, "
                f"high={high.tolist()}; they are (low, high){_per_coordinate(dim)}"
            )
        return cls(low.expand(dim).clone(), high.expand(dim).clone())


def _per_coordinate(dim: int) -> str:
    """What the bounds of several coordinates look like."""
    return "" if dim == 1 else f", each a number or {dim} numbers, and not a pair per coordinate"


def _transposed(dim: int) -> str:
    """What went wrong if two pairs were taken for the lows and the highs."""
    return "" if dim == 1 else ". The bounds are (lows, highs), and not a pair per coordinate"


def _side(given: Any, open_side: float) -> Tensor:
    """The bounds of one side, ``open_side`` where None is given."""
    if isinstance(given, (list, tuple)):
        return torch.as_tensor([open_side if entry is None else entry for entry in given])
    return torch.as_tensor(open_side if given is None else given)
