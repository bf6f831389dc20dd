"""The number of modes of each group of a table, groups shared among processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch

from lse_vi.bayesian.mode_count import ModeCount, count_modes
from lse_vi.bayesian.result import PeakSummary

HEIGHTS = 300  # points of a curve: more than a figure has pixels for a mode
MARGIN = 0.05  # of the curves' range on each side of the data, as a share of it


class Group(NamedTuple):
    """What is said of one group.

    Attributes:
        label: its entry.
        points: its number of rows.
        probabilities: P(number of peaks).
        peaks: those of the most probable number.
        heights: the posterior mean of the density, at the ticks of all groups.
    """

    label: str
    points: int
    probabilities: dict[int, float]
    peaks: list[PeakSummary]
    heights: np.ndarray


def ticks_of(values: np.ndarray, bounds: Sequence[float] | None = None) -> np.ndarray:
    """Where the densities of all groups are shown: about the data, within the bounds."""
    low, high = values.min(), values.max()
    margin = MARGIN * (high - low)
    least, most = bounds or (-np.inf, np.inf)
    return np.linspace(max(low - margin, least), min(high + margin, most), HEIGHTS)


def look(label: str, count: ModeCount, ticks: np.ndarray) -> Group:
    """What is said of a group, from its posteriors."""
    model = count.best.model
    heights = count.density(ticks).mean(0).numpy()
    return Group(label, len(model.x), count.probabilities, peaks_of(count), heights)


def peaks_of(count: ModeCount) -> list[PeakSummary]:
    """The peaks under the most probable K that has the most probable number of peaks."""
    number = count.most_probable
    ranked = sorted(count.posteriors, key=lambda k: -count.part_probabilities[k])
    for k in ranked:
        table = count.posteriors[k].peak_table()
        if len(table) == number:
            return table
    return count.best.peak_table()


def count_groups(
    groups: dict[str, np.ndarray], ticks: np.ndarray, options: dict[str, Any]
) -> Iterator[Group]:
    """Count the modes of every group, in the order of the groups."""
    tasks = [(label, values, ticks, options) for label, values in groups.items()]
    workers = min(len(tasks), os.cpu_count() or 1)
    if workers == 1:
        yield from map(_count, tasks)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        yield from pool.map(_count, tasks)


def _count(task: tuple[str, np.ndarray, np.ndarray, dict[str, Any]]) -> Group:
    label, values, ticks, options = task
    return look(label, count_modes(values, progress=False, **options), ticks)


def _one_thread() -> None:
    torch.set_num_threads(1)
