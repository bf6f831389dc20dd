"""Data of any size: a memory map on disk is read in parts and never copied as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lse_vi.checks import check_spread
from lse_vi.distribution.box import Box
from lse_vi.fitting.fingerprint import digest
from lse_vi.network.circle import as_period, counted_from, sparsest
from lse_vi.numerics.arrays import as_floats, check_resolved, read
from lse_vi.numerics.weighted import Weights, weighted_quantile
from lse_vi.tables.cells import Tally, spread_over_cells

PART = 2**16  # rows read at once: 512 KiB per column in double precision
MIDDLE = 0.95  # share of the data whose range tells their spread: fewer than 5 % are outliers
NORMAL_RANGE = 3.92  # that range of a normal law, in its deviations
CIRCLE_POINTS = 1000  # by which the place is found at which a circle is cut
WIDEST_TAILS = 2.0  # deviation over that of a normal with the same range: two groups have 1.4


class Moments(NamedTuple):
    """Where the rows of all data sets are, and how far they spread, in double precision: (dim,).

    The mean and the standard deviation, unless a few outliers make these: see :func:`_robust`.
    """

    mean: Tensor
    deviation: Tensor


@dataclass(frozen=True)
class Points:
    """Rows (n, *batch, dim) of a tensor, an array or a memory map, handed out as tensors.

    Single precision stays what it is; integers, times and all else become double, part by part.
    ``weights`` None stands for one per point. With a ``period``, (dim,) and infinite where x is not
    periodic, rows are handed out in [low, low + period). ``steps`` are the widths of the cells over
    which points were spread, 0 where they were not.
    """

    source: Tensor | np.ndarray
    weights: Weights | None = None
    period: Tensor | None = None
    low: Tensor | None = None
    steps: tuple[float, ...] = ()

    @classmethod
    def of(cls, name: str, x: Any, weights: Any = None, period: Any = None) -> Points:
        """Check the data that the user gives, and wrap them. Rows with a masked entry are left out.

        Args:
            name: of the argument, for error texts.
            x: (n, dim), (n,) or (n, *batch, dim).
            weights: of the points, (n,) or (n, *batch), as :meth:`Weights.of` reads them. Rows
                without weight are left out.
            period: of x, a number or one per coordinate, None where not periodic. The circle is cut
                where the fewest points are.

        Raises:
            TypeError: for what holds no real numbers.
            ValueError: for data that are empty, not finite, or constant in a coordinate or varying
                by less than their rounding.
        """
        # Numbers are left where they are, as they may lie on disk; all else is read at once.
        plain = isinstance(x, np.ndarray) and x.dtype.kind in "fiu" and not np.ma.isMaskedArray(x)
        source, kept = (x, None) if plain else _read_whole(name, x)
        if source.ndim == 1:
            source = source[:, None]
        if source.ndim < 2:
            raise ValueError(
                f"{name} must have shape (n, dim) or (n,), but got {tuple(source.shape)}"
            )
        if 0 in source.shape:
            raise ValueError(f"{name} is empty: shape {tuple(source.shape)}")
        points = cls(source) if weights is None else cls._weighted(source, weights, kept)
        bad = sum(int((~torch.isfinite(part)).sum()) for part in points.parts())
        if bad:
            raise ValueError(
                f"{name} must be finite, but {bad} of its {torch.Size(points.shape).numel()} "
                "entries are NaN or infinite; drop or impute them first"
            )
        if period is not None:
            points = points._on_circle(as_period(period, points.shape[-1]))
        if len(points) > 1:
            low, high = points.extremes
            check_spread(name, low, high)
            check_resolved(name, low, high)
        return points

    def in_cells(self, box: Box | None) -> Points:
        """The same points spread over their cells, where many share the values of a grid.

        Equal points are counted part by part; a batch on disk is left as it is.
        """
        if len(self.shape) == 2:
            cells = Tally()
            for rows, worth in self.weighted_parts():
                if not cells.add(rows.cpu().numpy(), worth.cpu().numpy()):
                    return self
            x, worth_of = cells.x, cells.weights
        elif isinstance(self.source, np.memmap):
            return self
        else:
            x, worth_of = self.rows(slice(None)).cpu().numpy(), self.worth.values.cpu().numpy()
        spread = spread_over_cells(x, worth_of, None if box is None else [e.numpy() for e in box])
        if spread is None:
            return self
        source = torch.as_tensor(spread.x).to(self.like)
        weights = Weights(torch.as_tensor(spread.weights), counts=False)
        return replace(self, source=source, weights=weights, steps=tuple(spread.steps.tolist()))

    @classmethod
    def _weighted(cls, source: Tensor | np.ndarray, weights: Any, kept: Tensor | None) -> Points:
        """Points with weights; ``source`` holds the rows ``kept`` of those given, None for all."""
        n = len(source) if kept is None else len(kept)
        values, counts = Weights.of("weights", weights, (n, *source.shape[1:-1]))
        values = values if kept is None else values[kept]
        used = (values > 0).reshape(len(values), -1).any(-1)
        if not bool(used.all()):
            values = values[used]
            source = source[used] if isinstance(source, Tensor) else source[used.numpy()]
        return cls(source, Weights(values, counts))

    def _on_circle(self, period: Tensor) -> Points:
        """The same points modulo ``period``, from the point on that has the fewest around it."""
        step = max(1, len(self) // CIRCLE_POINTS)
        rows = self.rows(slice(None, None, step)).double()
        weights = self.worth.values[::step].to(rows.device).expand(rows.shape[:-1]).reshape(-1)
        flat = rows.reshape(-1, rows.shape[-1])
        low = sparsest(flat, weights, period)
        return replace(self, period=period.to(flat), low=low)

    @cached_property
    def worth(self) -> Weights:
        """The weights of the points, which are one where none were given."""
        return Weights.equal(self.shape[:-1]) if self.weights is None else self.weights

    @property
    def size(self) -> Tensor:
        """How many points of weight one the points of each data set are worth, (*batch) or 1s."""
        return self.worth.size

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
        rows = as_floats("x", part)
        if self.period is None or self.low is None:
            return rows
        return (counted_from(self.low, rows.double(), self.period) + self.low).to(rows.dtype)

    def _inner(self, rows: Tensor) -> Tensor:
        """Rows in double precision, from where the circle is cut: the same wherever 0 is."""
        rows = rows.double()
        if self.period is None or self.low is None:
            return rows
        return counted_from(self.low, rows, self.period)

    @property
    def like(self) -> Tensor:
        """Zeros (dim,) of the type and on the device in which the points are handed out."""
        return torch.zeros_like(self.rows(slice(0, 1)).reshape(-1, self.shape[-1])[0])

    def parts(self) -> Iterator[Tensor]:
        """All rows in their order, ``PART`` of them at a time."""
        return (part for part, _ in self.weighted_parts())

    def weighted_parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """As :meth:`parts`, with the weights (m, *batch) or (m, *1s) of the rows."""
        for i in range(0, len(self), PART):
            own = slice(i, i + PART)
            yield self.rows(own), self.worth.values[own]

    def _flat(self, rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of all data sets (m, dim) in double precision, and their weights (m, 1)."""
        flat = weights.to(rows.device).expand(rows.shape[:-1]).reshape(-1, 1)
        return self._inner(rows).reshape(-1, self.shape[-1]), flat

    @cached_property
    def extremes(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value of each data set and coordinate, (*batch, dim)."""
        ends = [part.aminmax(dim=0) for part in self.parts()]
        low, high = (torch.stack(side) for side in zip(*ends, strict=True))
        return low.amin(0), high.amax(0)

    @property
    def moments(self) -> Moments:
        """Robust mean and deviation of the data, see :func:`_robust`."""
        mean, deviation = self._moments
        return Moments(mean if self.low is None else mean + self.low, deviation)

    @cached_property
    def _moments(self) -> Moments:
        """Robust mean and deviation, merged part by part (Chan, Golub & LeVeque 1983)."""
        count = torch.zeros((), dtype=torch.float64)
        for part, worth in self.weighted_parts():
            rows, weights = self._flat(part, worth)
            here = weights.sum()
            own = (weights * rows).sum(0) / here
            squares = (weights * (rows - own).square()).sum(0)
            if not count:
                mean, total = own, squares
            else:
                share = here / (count + here)
                total = total + squares + (own - mean).square() * (count * share)
                mean = mean + (own - mean) * share
            count = count.to(here) + here
        step = max(1, len(self) * torch.Size(self.shape[1:-1]).numel() // (PART * self.shape[-1]))
        every = slice(None, None, step)
        some, weights = self._flat(self.rows(every), self.worth.values[every])
        # Points worth one at most would have no deviation: those of a few large weights have that
        # of the weighted points themselves.
        deviation = (total / torch.where(count > 1, count - 1, count)).sqrt()
        return _robust(mean, deviation, some, weights.squeeze(-1))

    def standardised(self, index: Tensor) -> Tensor:
        """The rows at ``index``, minus the mean of all data and divided by their deviation."""
        mean, deviation = self._moments
        return (self._inner(self.rows(index)) - mean) / deviation

    def digest(self) -> str:
        """A fingerprint of all the numbers."""
        whole = f"{self.shape} {digest(self.parts())}"
        own = [self.period, *(self.weights or ())]
        return whole if self.weights is self.period is None else f"{whole} {digest(own)}"


def _read_whole(name: str, x: Any) -> tuple[Tensor, Tensor | None]:
    """Rows of numbers without those that miss an entry, and a mask of the rows kept, if not all."""
    values, missing = read(name, x)
    if missing is None:
        return values, None
    if values.dim() > 2:
        raise ValueError(
            f"{name} is a batch of data sets with masked entries, which may be of different "
            "lengths; fit each set by itself"
        )
    whole = ~missing.reshape(len(values), -1).any(-1)
    return values[whole], whole


def _robust(mean: Tensor, deviation: Tensor, rows: Tensor, weights: Tensor) -> Moments:
    """Mean and deviation, held to the middle 95 % of the ``rows`` where outliers exceed it.

    An outlier at a thousand deviations of the rest would make all else one narrow group. Without
    such, the mean lies within the middle range and the deviation is below twice what the range of a
    normal says, and both are taken as they are. Nothing jumps where an outlier comes closer.
    """
    ends = ((1 - MIDDLE) / 2, (1 + MIDDLE) / 2)
    low, high = (weighted_quantile(rows, weights, q) for q in ends)
    most = WIDEST_TAILS * (high - low) / NORMAL_RANGE
    most = torch.where(most > 0, most, deviation)  # most rows may be equal
    return Moments(torch.maximum(torch.minimum(mean, high), low), torch.minimum(deviation, most))
