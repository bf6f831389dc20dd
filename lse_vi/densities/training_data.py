"""The points of a fit: training points, taken all at once or in batches, and held-out points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lse_vi.densities.background import Background
from lse_vi.densities.data_source import Points
from lse_vi.fitting.processes import average_, own_share, processes
from lse_vi.network.potential import LSEICNN

# Points that suffice to start a fit, or to judge one in batches: their mean loss has an error below
# 1 % of the loss's deviation. Also the points evaluated at once, which bounds the memory.
ENOUGH_POINTS = 2**14


@dataclass(frozen=True)
class FitData:
    """Standardised points of a fit, of which some are held out.

    Args:
        points: the data in their own units.
        rows: indices of the training points.
        batch_size: training points of a step.
        test: the held-out points, standardised.
        dtype: of all points that the methods return; that of ``points`` by default.
        background: the part of the density beside the modes; None without one.
    """

    points: Points
    rows: Tensor
    batch_size: int
    test: Tensor
    dtype: torch.dtype | None = None
    background: Background | None = None

    @classmethod
    def split(
        cls, points: Points, n_test: int, batch_size: int, background: Background | None = None
    ) -> FitData:
        """Hold out ``n_test`` random points; a fit in batches is judged by at most 16,384."""
        order = torch.randperm(len(points))
        whole = batch_size >= len(points) - n_test
        judged = order[: n_test if whole else min(n_test, ENOUGH_POINTS)]
        test = points.standardised(judged).to(points.like.dtype)
        return cls(points, order[n_test:], batch_size, test, background=background)

    @cached_property
    def whole(self) -> Tensor | None:
        """All training points if a step takes all of them, else None."""
        fits = self.batch_size >= len(self.rows)
        return self._standardised(self.rows) if fits else None

    @property
    def sample(self) -> Tensor:
        """Enough training points for a start."""
        if self.whole is not None:
            return self.whole[:ENOUGH_POINTS]
        return self._standardised(self.rows[:ENOUGH_POINTS])

    def draw(self) -> Tensor:
        """The training points of a step: all, or a random batch."""
        if self.whole is not None:
            return self.whole
        return self._standardised(self.rows[torch.randint(len(self.rows), (self.batch_size,))])

    def double(self) -> FitData:
        """The same points in double precision."""
        return replace(self, test=self.test.double(), dtype=torch.float64)

    def mean(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """The mean over all training points of ``function``: (n, *batch, dim) -> (n, ...).

        The points are shared among the processes of a distributed fit.
        """
        parts = own_share(self.rows).split(ENOUGH_POINTS)
        sums = [function(self._standardised(rows)).sum(0) for rows in parts]
        mean = torch.stack(sums).sum(0) * (processes() / len(self.rows))
        average_([mean])
        return mean

    def energy(self, pot: LSEICNN, x: Tensor) -> Tensor:
        """-log of the unnormalised density with the background, if there is one, (n, *batch)."""
        return self.beside(pot(x), x)

    def beside(self, energy: Tensor, x: Tensor) -> Tensor:
        """:meth:`energy` where the modes' own energies at ``x`` are known."""
        return energy if self.background is None else self.background.energy(energy, x)

    def modes_share(self, pot: LSEICNN) -> Tensor | None:
        """The probability that each point of ``sample`` is of the modes; None means 1."""
        return None if self.background is None else self.background.modes_share(pot, self.sample)

    def log_normalizer(self, log_z: Tensor) -> Tensor:
        """The log normaliser of what :meth:`energy` describes, where the modes have ``log_z``."""
        return log_z if self.background is None else self.background.log_normalizer(log_z)

    def _standardised(self, rows: Tensor) -> Tensor:
        return self.points.standardised(rows).to(self.dtype or self.points.like.dtype)
