"""What loops say by themselves, before any model: turns, energies, scatter and spikes."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lse_vi.hysteresis.records import Column

TURN = 0.04  # share of the range of strain that a path must come back for a turn: noise is less
NORMAL = 1.4826  # standard deviations of a normal law in one median of |x|
# A row stands alone if it is this many robust deviations from the median of its neighbours: of a
# normal law one in 10^9 is.
ALONE = 6.0
NEIGHBOURS = 3  # rows on each side whose median a row is compared with
JUMP = 10.0  # median steps of strain that a spike leaves its path by
LONGEST_SPIKE = 2  # rows
# Share of the largest value below which a deviation is rounding, in files with four digits or more.
ROUNDING = 1e-9
WINDOW = 5  # autocorrelation times over which correlations are summed: noise would take over later


class Loop(NamedTuple):
    """One loop of a test: up or down to a turn, and back to the next.

    Attributes:
        first, turn, last: rows.
    """

    first: int
    turn: int
    last: int


def turns(strain: Column, span: float) -> list[int]:
    """The rows where a path turns by more than a share of ``span``, with its first and its last.

    Example:
        >>> turns(np.array([0.0, 1.0, 2.0, 1.99, 2.5, 1.0, 0.0, 1.0]), 2.5)
        [0, 4, 6, 7]
    """
    rows, back = [0], TURN * span
    low = high = 0  # rows of the extremes since the last turn
    heading = 0
    for row, value in enumerate(strain):
        if value > strain[high]:
            high = row
        if value < strain[low]:
            low = row
        if heading >= 0 and value < strain[high] - back:
            if high > 0:
                rows.append(high)
            heading, low = -1, row
            high = row
        elif heading <= 0 and value > strain[low] + back:
            if low > 0:
                rows.append(low)
            heading, high = 1, row
            low = row
    if rows[-1] != len(strain) - 1:
        rows.append(len(strain) - 1)
    return rows


def loops(strain: Column, span: float) -> list[Loop]:
    """The loops between turns, away from rest and back: each begins where the last one ended."""
    rows = turns(strain, span)
    return [Loop(*rows[i : i + 3]) for i in range(0, len(rows) - 2, 2)]


def work(strain: Column, stress: Column) -> float:
    """The integral of stress over strain; of a closed loop, what it dissipates."""
    return (
        float(np.trapezoid(stress, strain))
        if hasattr(np, "trapezoid")
        else float((0.5 * (stress[1:] + stress[:-1]) * np.diff(strain)).sum())
    )


def opening(strain: Column, stress: Column, loop: Loop) -> float:
    """The area between both branches of a loop, over the strains that both meet.

    It is positive for a material, open loops included, and negative where stress and strain are
    swapped.
    """
    out = slice(loop.first, loop.turn + 1)
    back = slice(loop.turn, loop.last + 1)
    sign = 1.0 if strain[loop.turn] > strain[loop.first] else -1.0
    going, coming = sign * strain[out], sign * strain[back]
    low = max(going[0], coming[-1])
    grid = np.linspace(low, sign * strain[loop.turn], 200)
    difference = np.interp(grid, *_sorted(going, stress[out])) - np.interp(
        grid, *_sorted(coming, stress[back])
    )
    return sign * work(grid, difference)


def _sorted(x: Column, y: Column) -> tuple[Column, Column]:
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


def scatter(strain: Column, stress: Column, span: float) -> float:
    """The standard deviation of single rows of stress, from how they miss their neighbours.

    Each row is compared with the line through both neighbours, on the stretches between turns. With
    equal steps of strain the difference has 3/2 of the variance of a row. The median is not moved
    by corners and outliers.
    """
    kept = np.ones(len(strain), bool)
    kept[[0, -1]] = False
    for row in turns(strain, span):
        kept[max(row - 1, 0) : row + 2] = False
    gap = strain[2:] - strain[:-2]
    share = np.divide(strain[1:-1] - strain[:-2], gap, out=np.full_like(gap, 0.5), where=gap != 0)
    share = share.clip(0.0, 1.0)
    miss = stress[1:-1] - (1 - share) * stress[:-2] - share * stress[2:]
    miss /= np.sqrt(1 + share**2 + (1 - share) ** 2)
    chosen = miss[kept[1:-1]]
    return NORMAL * float(np.median(np.abs(chosen))) if len(chosen) else 0.0


def strain_spikes(strain: Column) -> Column:
    """``strain`` with jumps away from the path and back, of one or two rows, taken out.

    A loop that turns is no spike: its neighbours on both sides are one step from it.
    """
    cleaned = strain.copy()
    step = float(np.median(np.abs(np.diff(strain))))
    for length in range(1, LONGEST_SPIKE + 1):
        before, after = cleaned[: -length - 1], cleaned[length + 1 :]
        middle = 0.5 * (before + after)
        # How far at least every row within leaves the path, all to one side.
        inside = np.stack([cleaned[k : k + len(before)] for k in range(1, length + 1)]) - middle
        out = np.where((inside > 0).all(0) | (inside < 0).all(0), np.abs(inside).min(0), 0.0)
        near = np.abs(after - before) + step
        for row in np.flatnonzero((out > JUMP * step) & (out > NEIGHBOURS * near)):
            ends = np.linspace(cleaned[row], cleaned[row + length + 1], length + 2)
            cleaned[row + 1 : row + length + 1] = ends[1:-1]
    return cleaned


def alone(residual: Column, largest: float) -> np.ndarray:
    """Which rows of a test stand alone: far off, in ``residual``, what their neighbours say.

    An error of a model goes on over many rows and does not count.

    Args:
        residual: data minus model, (rows,).
        largest: stress of the data, below a share of which all is rounding.
    """
    width = min(2 * NEIGHBOURS + 1, len(residual) // 2 * 2 - 1)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(residual, width // 2, mode="reflect"), width
    )
    off = np.abs(residual - np.median(windows, axis=-1))
    return off > ALONE * max(NORMAL * float(np.median(off)), ROUNDING * largest)


def thinned(strain: Column, most: int, span: float) -> np.ndarray:
    """At most about ``most`` rows of a test, in order: all turns, and the others evenly."""
    rows = np.arange(0, len(strain), max(1, -(-len(strain) // most)))
    return np.union1d(rows, turns(strain, span))


def averaged(columns: list[Column], points: int, span: float) -> list[Column]:
    """Columns with each branch averaged in ``points`` pieces of equal numbers of rows.

    The first column is the strain. The rows of the turns stay as they are, since the states of a
    material remember how far a path went.
    """
    rows = turns(columns[0], span)
    pieces: list[np.ndarray] = [np.array([rows[0]])]
    for start, end in pairwise(rows):
        inner = np.arange(start + 1, end)
        pieces += [part for part in np.array_split(inner, points) if len(part)]
        pieces.append(np.array([end]))
    return [np.array([column[piece].mean() for piece in pieces]) for column in columns]


def together(residual: Column) -> float:
    """The integrated autocorrelation of a series, at least 1 (Sokal 1997).

    Example:
        >>> round(together(np.repeat(np.random.default_rng(0).normal(size=2000), 5)), 0)
        5.0
    """
    centred = residual - residual.mean()
    total = float(centred @ centred)
    if total == 0.0:
        return 1.0
    tau = 1.0
    for lag in range(1, len(centred) // 3):
        tau += 2.0 * float(centred[lag:] @ centred[:-lag]) / total
        if lag >= WINDOW * tau:
            break
    return max(tau, 1.0)
