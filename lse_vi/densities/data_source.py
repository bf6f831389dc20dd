"""Data of any size: a memory map on disk is read in parts and never copied as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lse_vi.checks import check_spread
from lse_vi.fitting.fingerprint import digest
from lse_vi.numerics.arrays import as_floats

PART = 2**16  # rows read at once: 512 KiB per column in double precision


class Moments(NamedTuple):
    """Mean and standard deviation of each coordinate over the rows of all data sets: (dim,)."""

    mean: Tensor
    deviation: Tensor


@dataclass(frozen=True)
class Points:
    """Rows (n, *batch, dim) of a tensor, an array or a memory map, handed out as tensors.

    Integers become floats of the default dtype, part by part.
    """

    source: Tensor | np.ndarray

    @classmethod
    def of(cls, name: str, x: Any) -> Points:
        """Check the data that the user gives, and wrap them.

        Args:
            name: of the argument, for error texts.
            x: (n, dim), (n,) or (n, *batch, dim).

        Raises:
            ValueError: for data that are empty, not finite or constant in a coordinate.
        """
        source = x.detach() if isinstance(x, Tensor) else np.asarray(x)
        if source.ndim == 1:
            source = source[:, None]
        if source.ndim < 2:
            raise ValueError(
                f"{name} must have shape (n, dim) or (n,), but got {tuple(source.shape)}"
            )
        points = cls(source)
        if 0 in points.shape:
            raise ValueError(f"{name} is empty: shape {points.shape}")
        bad = sum(int((~torch.isfinite(part)).sum()) for part in points.parts())
        if bad:
            raise ValueError(
                f"{name} must be finite, but {bad} of its {torch.Size(points.shape).numel()} "
                "entries are NaN or infinite; drop or impute them first"
            )
        if len(points) > 1:
            low = torch.stack([part.amin(0) for part in points.parts()]).amin(0)
            high = torch.stack([part.amax(0) for part in points.parts()]).amax(0)
            check_spread(name, low, high)
        return points

    def __len__(self) -> int:
        return len(self.source)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, *batch, dim)."""
        return tuple(self.source.shape)

    def rows(self, index: slice | Tensor) -> Tensor:
        """The rows at ``index``, (m, *batch, dim)."""
        if isinstance(self.source, Tensor):
            part: Any = self.source[
                index if isinstance(index, slice) else index.to(self.source.device)
            ]
        else:
            where = index if isinstance(index, slice) else index.cpu().numpy()
            part = np.array(self.source[where])
        return as_floats(part)

    def parts(self) -> Iterator[Tensor]:
        """All rows in their order, ``PART`` of them at a time."""
        return (self.rows(slice(i, i + PART)) for i in range(0, len(self), PART))

    @cached_property
    def moments(self) -> Moments:
        """Mean and standard deviation, merged part by part (Chan, Golub & LeVeque 1983)."""
        count = 0
        for part in self.parts():
            rows = part.reshape(-1, self.shape[-1])
            own = rows.mean(0)
            squares = (rows - own).square().sum(0)
            if not count:
                mean, total = own, squares
            else:
                share = len(rows) / (count + len(rows))
                total = total + squares + (own - mean).square() * (count * share)
                mean = mean + (own - mean) * share
            count += len(rows)
        return Moments(mean, (total / (count - 1)).sqrt())

    def standardised(self, index: Tensor) -> Tensor:
        """The rows at ``index``, minus the mean of all data and divided by their deviation."""
        return (self.rows(index) - self.moments.mean) / self.moments.deviation

    def digest(self) -> str:
        """A fingerprint of all the numbers."""
        return f"{self.shape} {digest(self.parts())}"
