"""The points of a fit: training points, taken all at once or in batches, and held-out points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lse_vi.densities.background import Background
from lse_vi.densities.data_source import Points
from lse_vi.fitting.processes import average_, own_share, processes
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.tempering import stratified
from lse_vi.random.draws import generator, rand_like, randint, randperm

# Points that suffice to start a fit, or to judge one in batches: their mean loss has an error below
# 1 % of the loss's deviation. Also the points evaluated at once, which bounds the memory.
ENOUGH_POINTS = 2**14


@dataclass(frozen=True)
class FitData:
    """Standardised points of a fit, of which some are held out.

    Args:
        points: the data in their own units.
        rows: indices of the training points.
        weights: of the training points, with mean one, (n, *batch) or (n, *1s).
        size: how many points of weight one they are worth, (*batch) or (*1s).
        batch_size: training points of a step.
        test: the held-out points of weight one, standardised.
        there: False for an entry that fills up the held-out points of a data set, as those of
            another are more: (m, *batch) or (m, *1s).
        dtype: of all points that the methods return.
        background: the part of the density beside the modes; None without one.
        half_open: whether the support has a wall on one side only.
    """

    points: Points
    rows: Tensor
    weights: Tensor
    size: Tensor
    batch_size: int
    test: Tensor
    there: Tensor
    dtype: torch.dtype
    background: Background | None = None
    half_open: bool = False

    @classmethod
    def split(
        cls,
        points: Points,
        n_test: int,
        batch_size: int,
        dtype: torch.dtype,
        background: Background | None = None,
        half_open: bool = False,
    ) -> FitData:
        """Hold out ``n_test`` random points; a fit in batches is judged by at most 16,384."""
        order = randperm(len(points))
        if points.weights is None:
            whole = batch_size >= len(points) - n_test
            judged = order[: n_test if whole else min(n_test, ENOUGH_POINTS)]
            rows, test = order[n_test:], points.standardised(judged).to(dtype)
            there = torch.ones((), dtype=torch.bool, device=test.device).expand(test.shape[:-1])
            weights = points.worth.values[rows]
        else:
            # Of a count each point is held out or not; a relative weight is as a whole.
            values, share = points.weights.values, n_test / float(points.size.min())
            if points.weights.counts:
                held = torch.binomial(
                    values, torch.full_like(values, share), generator=generator(values.device)
                )
            else:
                held = torch.where(rand_like(values) < share, values, 0.0)
            rows, weights = order, (values - held)[order]
            test, there = _draws_of(points, held)
            test = test.to(dtype)
        like = points.like.device
        weights, size = weights.to(like), weights.sum(0).to(like)
        relative = weights if points.weights is None else weights * (len(rows) / size)
        beside: dict[str, Any] = {"background": background, "half_open": half_open}
        return cls(points, rows, relative, size, batch_size, test, there, dtype, **beside)

    @cached_property
    def whole(self) -> Tensor | None:
        """All training points if a step takes all of them, else None."""
        fits = self.batch_size >= len(self.rows)
        return self._standardised(self.rows) if fits else None

    @property
    def sample_weights(self) -> Tensor | None:
        """The weights of the points of :attr:`sample`; None where none were given."""
        return None if self.points.weights is None else self.weights[:ENOUGH_POINTS]

    @property
    def sample(self) -> Tensor:
        """Enough training points for a start."""
        if self.whole is not None:
            return self.whole[:ENOUGH_POINTS]
        return self._standardised(self.rows[:ENOUGH_POINTS])

    def draw(self) -> tuple[Tensor, Tensor]:
        """The training points of a step, all or a random batch, and their weights."""
        if self.whole is not None:
            return self.whole, self.weights
        some = randint(len(self.rows), self.batch_size)
        return self._standardised(self.rows[some]), self.weights[some.to(self.weights.device)]

    def mean(self, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The mean over all training points of ``function``: (n, *batch, dim) -> (n, ...).

        Its second argument are the weights of the points, (n, *batch) or (n, *1s), with mean one,
        which it multiplies with: what the batch dimensions of its values are, it knows.

        The points are shared among the processes of a distributed fit.
        """
        rows = own_share(self.rows).split(ENOUGH_POINTS)
        weights = own_share(self.weights.to(self.dtype))
        parts = zip(rows, weights.split(ENOUGH_POINTS), strict=True)
        sums = [function(self._standardised(own), part).sum(0) for own, part in parts]
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

    def held_out(self, losses: Tensor) -> Tensor:
        """``losses`` at :attr:`test`, (n, restarts, *batch), NaN where there is no point."""
        return losses.masked_fill(~self.there.unsqueeze(1), torch.nan)

    def _standardised(self, rows: Tensor) -> Tensor:
        return self.points.standardised(rows).to(self.dtype)


def _draws_of(points: Points, worth: Tensor) -> tuple[Tensor, Tensor]:
    """Points of weight one that stand for all with the weights ``worth`` (n, *batch or 1s).

    Args:
        points: the data.
        worth: of the points.

    Returns:
        The points, standardised, (m, *batch, dim), and which of them are there, (m, *batch).
    """
    batch = points.shape[1:-1]
    columns = worth.expand(points.shape[:-1]).reshape(len(worth), -1)
    numbers = columns.sum(0).round().long().clamp_max(ENOUGH_POINTS).tolist()
    test = points.standardised(torch.zeros(max(numbers), dtype=torch.long))
    flat = test.reshape(max(numbers), len(numbers), points.shape[-1])
    there = torch.zeros(max(numbers), len(numbers), dtype=torch.bool, device=test.device)
    for b, number in enumerate(numbers):
        own = points.standardised(stratified(columns[:, b], number))
        flat[:number, b] = own.reshape(number, len(numbers), points.shape[-1])[:, b]
        there[:number, b] = True
    return test, there.reshape(max(numbers), *batch)
