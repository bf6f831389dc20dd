"""Values on a grid that many points share, as in a histogram: cells, over which points spread.

A density of such values alone is a spike on each. What they say is how many points are in a cell.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

# Points that share a value, on average, and distinct values, from which on these are cells.
SHARED, FEWEST = 5, 3
# Part of the range within which values are taken for one, and part of a step by which such values
# may differ or be off the grid, as they were computed or moved: rounding must not tell cells from
# spikes. Groups far closer than an outlier differ by more than that part of what would be a step.
NEAR, OFF = 1e-6, 1e-4
PARTS = 8  # points into which one is spread, over its cell: steps of an eighth are no spikes
MOST_ROWS = 2**20  # rows that spread points may have, for their memory


class Cells(NamedTuple):
    """Points spread over their cells.

    Attributes:
        x: (m, *batch, dim).
        weights: of the points, (m, *batch) or (m, *1s).
        steps: the width of the cells by column, (dim,); 0 where values are no cells.
    """

    x: np.ndarray
    weights: np.ndarray
    steps: np.ndarray


class Tally:
    """Distinct rows and their weights, of data that come in parts.

    Attributes:
        x: the distinct rows, (m, dim), in their order.
        weights: the sum of the weights of each, (m,).

    Example:
        >>> tally = Tally()
        >>> tally.add(np.array([[2.0], [1.0], [2.0]]), np.ones(3))
        True
        >>> tally.weights
        array([1., 2.])
    """

    def __init__(self) -> None:
        self.x: np.ndarray = np.empty((0, 0))
        self.weights: np.ndarray = np.empty(0)

    def add(self, x: np.ndarray, weights: np.ndarray) -> bool:
        """Add rows (n, dim) with weights (n,); False if they are too many to be spread."""
        if len(self.x):
            x = np.concatenate([self.x, x])
            weights = np.concatenate([self.weights, weights])
        self.x, place = np.unique(x, axis=0, return_inverse=True)
        self.weights = np.bincount(place.reshape(-1), weights=weights, minlength=len(self.x))
        return len(self.x) * PARTS <= MOST_ROWS


def spread_over_cells(x: np.ndarray, weights: np.ndarray, bounds: Any = None) -> Cells | None:
    """Spread points whose columns have values on a grid; None if none has.

    Args:
        x: (n, *batch, dim).
        weights: (n, *batch) or (n, *1s).
        bounds: (low, high), (dim,) each, beyond which no cell reaches; None for R^d.

    Example:
        >>> counts = np.array([10, 30, 20])
        >>> cells = spread_over_cells(np.array([[0.0], [1.0], [2.0]]), counts)
        >>> cells.x.shape, float(cells.weights.sum()), float(cells.x.min())
        ((24, 1), 60.0, -0.4375)
    """
    if len(x) * PARTS > MOST_ROWS:
        return None
    wide = np.broadcast_to(weights, x.shape[:-1])
    points = wide.sum() / max(1, int(np.prod(x.shape[1:-1])))
    steps = np.array([_step(x[..., c][wide > 0], points) for c in range(x.shape[-1])])
    if not steps.any():
        return None
    low, high = x - steps / 2, x + steps / 2
    if bounds is not None:
        low, high = np.maximum(low, bounds[0]), np.minimum(high, bounds[1])
    at = (np.arange(PARTS) + 0.5) / PARTS
    # Another order in each column, or two would move together.
    orders = [np.random.default_rng(c).permutation(at) if c else at for c in range(len(steps))]
    share = np.stack(orders, -1).reshape(PARTS, *(1,) * (x.ndim - 1), len(steps))
    spread = np.where(steps > 0, low + share * (high - low), x).reshape(-1, *x.shape[1:])
    return Cells(spread, np.concatenate([weights / PARTS] * PARTS), steps)


def _step(values: np.ndarray, points: float) -> float:
    """The step of the grid on which ``values`` are, 0 if they are on none or few are shared."""
    if not len(values):
        return 0.0
    values = np.sort(values)
    apart = np.diff(values) > NEAR * (values[-1] - values[0])
    starts = np.flatnonzero(np.concatenate([[True], apart]))
    if len(starts) < FEWEST or len(starts) * SHARED > points:
        return 0.0
    ends = np.append(starts[1:], len(values))
    distinct = np.add.reduceat(values, starts) / (ends - starts)
    width = distinct[-1] - distinct[0]
    count = np.round(width / np.diff(distinct).min())  # of steps
    step = width / count
    ticks = (distinct - distinct[0]) / step
    off = max(np.abs(ticks - ticks.round()).max(), (values[ends - 1] - values[starts]).max() / step)
    return float(step) if off < OFF else 0.0
