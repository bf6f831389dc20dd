"""The points of a fit: trained on all at once or in batches, and held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lse_vi.densities.data_source import Points
from lse_vi.fitting.processes import average_, own_share, processes

ENOUGH_POINTS = 2**14  # points that are enough for a start, and to judge a fit in batches by


@dataclass(frozen=True)
class FitData:
    """Standardised points of a fit: those trained on, all at once or in batches, and some held out.

    Args:
        points: the data in their own units.
        rows: which of them are trained on.
        batch_size: how many at a time.
        test: those held out, standardised.
        dtype: of what is handed out; that of ``points`` by default.
    """

    points: Points
    rows: Tensor
    batch_size: int
    test: Tensor
    dtype: torch.dtype | None = None

    @classmethod
    def split(cls, points: Points, n_test: int, batch_size: int) -> FitData:
        """Hold out ``n_test`` random points; of many, 16,384 are judged."""
        order = torch.randperm(len(points))
        whole = batch_size >= len(points) - n_test
        judged = order[: n_test if whole else min(n_test, ENOUGH_POINTS)]
        test = points.standardised(judged)
        return cls(points, order[n_test:], batch_size, test)

    @cached_property
    def whole(self) -> Tensor | None:
        """All points to train on, if they are taken at once."""
        fits = self.batch_size >= len(self.rows)
        return self._standardised(self.rows) if fits else None

    @property
    def sample(self) -> Tensor:
        """As many points as a start needs."""
        if self.whole is not None:
            return self.whole[:ENOUGH_POINTS]
        return self._standardised(self.rows[:ENOUGH_POINTS])

    def draw(self) -> Tensor:
        """The points of a step."""
        if self.whole is not None:
            return self.whole
        return self._standardised(self.rows[torch.randint(len(self.rows), (self.batch_size,))])

    def double(self) -> FitData:
        """The same points in double precision."""
        return replace(self, test=self.test.double(), dtype=torch.float64)

    def mean(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """The mean over all points to train on of a function that keeps the first dimension.

        Processes share the points.
        """
        parts = own_share(self.rows).split(ENOUGH_POINTS)
        sums = [function(self._standardised(rows)).sum(0) for rows in parts]
        mean = torch.stack(sums).sum(0) * (processes() / len(self.rows))
        average_([mean])
        return mean

    def _standardised(self, rows: Tensor) -> Tensor:
        return self.points.standardised(rows).to(self.dtype or self.points.moments.mean.dtype)
