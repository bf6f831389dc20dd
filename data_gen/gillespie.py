"""Exact stochastic simulation of reaction networks by Gillespie's direct method.

For any network of `networks`: `simulate` for counts at given times, `simulate_path` for every event
of one trajectory. Where there is one species, `master_equation` has the law itself, without noise.
Every trajectory has a random stream of its own, so a seed fixes all bits whatever the number of
threads, and trajectory i is the same in a run of 10 and in a run of 10,000.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from data_gen import _direct
from data_gen._validate import non_negative, real_array, time_grid, whole_array, whole_number
from data_gen.arrays import FloatArray, IndexArray, IntArray
from data_gen.networks import CustomKinetics, MassAction, Propensities, ReactionNetwork

_BATCH = 512  # trajectories between two looks at the progress bar, errors and Ctrl-C
_CHUNK = 8  # trajectories that a thread takes at once


def simulate(
    network: ReactionNetwork,
    x0: ArrayLike,
    times: ArrayLike,
    n_trajectories: int,
    seed: int = 0,
    *,
    first: int = 0,
    max_events: int = 1_000_000_000,
    threads: int | None = None,
    progress: bool = False,
) -> IntArray:
    r"""Counts of independent trajectories on a time grid.

    In state n the next event comes after an exponential time of rate :math:`\sum_j a_j(n)` and is
    reaction j with probability :math:`a_j(n) / \sum_i a_i(n)` (Gillespie 1977,
    doi:10.1021/j100540a008). There is no approximation.

    Args:
        network: the species, reactions and propensities.
        x0: counts at time 0, shape (species,); a single number for one species.
        times: increasing times >= 0 to record, shape (times,), in the unit of the rates.
        n_trajectories: how many trajectories.
        seed: a non-negative integer that fixes every trajectory.
        first: number of the first trajectory, so that several processes can share those of a seed.
        max_events: most events of one trajectory before it is given up.
        threads: how many run trajectories side by side; one for each processor by default.
        progress: show a bar over trajectories.

    Returns:
        Counts just after any event at that time, int64, shape (n_trajectories, times, species).

    Raises:
        ValueError: if an argument is out of range, or a propensity turns negative, NaN or infinite.
        RuntimeError: if a trajectory reaches `max_events`.

    Example:
        >>> from data_gen.networks import MassAction, ReactionNetwork
        >>> decay = ReactionNetwork(["A"], [[-1]], MassAction([1.0], [[1]]))
        >>> counts = simulate(decay, 100, [0.0, 1.0, 50.0], n_trajectories=3, seed=1)
        >>> counts.shape, counts[:, 0, 0].tolist(), counts[:, 2, 0].tolist()
        ((3, 3, 1), [100, 100, 100], [0, 0, 0])
    """
    start = _initial_counts(network, x0)
    grid_times = time_grid("times", times)
    n = whole_number("n_trajectories", n_trajectories, minimum=1)
    offset = whole_number("first", first, minimum=0)
    limit = whole_number("max_events", max_events, minimum=1)
    processors = os.cpu_count() or 1
    workers = whole_number("threads", processors if threads is None else threads, minimum=1)
    key, (x, tables, function) = _key(seed), _compiled(network, start)

    def run(rows: slice) -> None:
        out = (counts[rows], endings[rows], stops[rows], stop)
        _direct.batch(offset + rows.start, key, x, tables, function, limit, grid_times, *out)

    # Python's threads will do, as the compiled code releases the interpreter's lock. Numba's are
    # OpenMP's, as torch's are, and numba would reset the number of threads that torch takes.
    counts = np.empty((n, len(grid_times), len(network.species)), np.int64)
    endings, stops = np.empty((n, 2), np.int64), np.empty(n)
    stop = np.zeros(1, np.int64)
    bar = tqdm(total=n, unit="trajectory", disable=not progress)
    with bar, ThreadPoolExecutor(workers) as pool:
        for begin in range(0, n, _BATCH):
            end = min(begin + _BATCH, n)
            chunks = [slice(i, min(i + _CHUNK, end)) for i in range(begin, end, _CHUNK)]
            try:
                list(pool.map(run, chunks))
            except BaseException:  # Ctrl-C: the compiled code does not see it
                stop[0] = 1
                raise
            for failed in (np.flatnonzero(endings[begin:end, 0]) + begin).tolist():
                ending, j = endings[failed].tolist()
                number = offset + failed
                _fail(network, ending, number, stops[failed], j, counts[failed, -1], limit)
            bar.update(end - begin)
    return counts


@dataclass(frozen=True, eq=False)
class Path:
    """Every event of one trajectory.

    Attributes:
        times: 0 and then the time of each event, shape (events + 1,).
        counts: the state from that time on, shape (events + 1, species).
        t_end: the path is known on [0, t_end].

    Example:
        >>> path = Path(np.array([0.0, 0.7]), np.array([[1], [0]]), t_end=2.0)
        >>> path.at([0.5, 1.0]).tolist()
        [[1], [0]]
    """

    times: FloatArray
    counts: IntArray
    t_end: float

    def at(self, times: ArrayLike) -> IntArray:
        """Counts (times, species) at times in [0, t_end].

        Raises:
            ValueError: for a time outside.
        """
        t = real_array("times", times, ndim=1)
        if t.size and not 0 <= t.min() <= t.max() <= self.t_end:
            raise ValueError(f"times must lie in [0, {self.t_end}], but got [{t.min()}, {t.max()}]")
        return self.counts[np.searchsorted(self.times, t, side="right") - 1]


def simulate_path(
    network: ReactionNetwork,
    x0: ArrayLike,
    t_end: float,
    seed: int = 0,
    *,
    trajectory: int = 0,
    max_events: int = 10_000_000,
) -> Path:
    """Every event of one trajectory up to `t_end`.

    The path is that of number `trajectory` in `simulate` with the same seed, so one that looks odd
    on a grid can be replayed in full. It is run twice: once to count events, once to record them.

    Args:
        network, x0, seed, max_events: as in `simulate`.
        t_end: when to stop, > 0, in the unit of the rates.
        trajectory: which of the seed's trajectories.

    Raises:
        ValueError, RuntimeError: as in `simulate`.

    Example:
        >>> from data_gen.networks import MassAction, ReactionNetwork
        >>> decay = ReactionNetwork(["A"], [[-1]], MassAction([1.0], [[1]]))
        >>> simulate_path(decay, 3, t_end=100.0).counts[:, 0].tolist()
        [3, 2, 1, 0]
    """
    start = _initial_counts(network, x0)
    times = time_grid("t_end", [t_end])
    index = whole_number("trajectory", trajectory, minimum=0)
    limit = whole_number("max_events", max_events, minimum=1)
    key, (x, tables, function) = _key(seed), _compiled(network, start)
    stop = np.zeros(1, np.int64)

    def run(capacity: int) -> tuple[int, FloatArray, IntArray]:
        grid = np.empty((1, len(start)), np.int64)
        event_times, event_counts = np.empty(capacity), np.empty((capacity, len(start)), np.int64)
        with ThreadPoolExecutor(1) as pool:  # this thread waits for Ctrl-C
            work = pool.submit(
                _direct.trajectory, index, key, x, tables, function, limit, times, grid,
                event_times, event_counts, stop,
            )  # fmt: skip
            try:
                ending, events, ended, j = work.result()
            except BaseException:
                stop[0] = 1
                raise
        if ending != _direct.DONE:
            _fail(network, ending, index, ended, j, grid[0], limit)
        return events, event_times, event_counts

    events, _, _ = run(capacity=0)
    _, event_times, event_counts = run(capacity=events)
    return Path(
        times=np.concatenate([[0.0], event_times]),
        counts=np.concatenate([start[None], event_counts]),
        t_end=float(times[0]),
    )


def _initial_counts(network: ReactionNetwork, x0: ArrayLike) -> IntArray:
    if not isinstance(network, ReactionNetwork):
        raise TypeError(f"network must be a ReactionNetwork, but got {network!r}")
    counts = whole_array("x0", np.atleast_1d(x0), ndim=1)
    non_negative("x0", counts)
    if len(counts) != len(network.species):
        raise ValueError(
            f"x0 must have one count for each of {network.species}, but got {counts.tolist()}"
        )
    return counts


def _key(seed: int) -> np.uint64:
    entropy = whole_number("seed", seed, minimum=0)
    return np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]


def _compiled(
    network: ReactionNetwork, start: IntArray
) -> tuple[FloatArray, _direct.Tables, Propensities | None]:
    """The initial state, the tables, and the compiled function that custom kinetics have."""
    changes, kinetics = network.stoichiometry, network.kinetics
    moved = [np.flatnonzero(row) for row in changes]
    change_start, change_species = _rows(moved)
    change = np.concatenate([row[s] for row, s in zip(changes, moved, strict=True)])
    if isinstance(kinetics, MassAction):
        # The dummy species, which pads short products, is the last; its count stays one.
        x, function = np.append(start, 1), None
        dummy = (len(start), 0)
        width = max(map(len, kinetics.factors))
        padded = [row + [dummy] * (width - len(row)) for row in kinetics.factors]
        factors = np.array(padded, np.int64).reshape(network.reactions, width, 2)
        read = kinetics.orders > 0
        dependents = [np.flatnonzero(read[:, s].any(axis=1)) for s in moved]
        rates = kinetics.scales
    else:
        x, function = start, kinetics.compiled
        kinetics.check_bounds(start.astype(np.float64), network.reactions)
        factors = np.empty((0, 0, 2), np.int64)
        dependents = []
        rates = kinetics.rates
    dependent_start, dependent = _rows(dependents)
    tables = _direct.Tables(
        rates=rates.copy(),  # writable: to numba a read-only array is of another type
        factor_species=np.ascontiguousarray(factors[:, :, 0], np.uint64),
        factor_shift=np.ascontiguousarray(factors[:, :, 1], np.float64),
        change_start=change_start,
        change_species=change_species,
        change=change.astype(np.float64),
        dependent_start=dependent_start,
        dependent=dependent,
    )
    return x.astype(np.float64), tables, function


def _rows(lists: list[NDArray[np.intp]]) -> tuple[IndexArray, IndexArray]:
    """Ragged rows as (start, values): row j is values[start[j]:start[j + 1]]."""
    start = np.cumsum([0, *map(len, lists)], dtype=np.uint64)
    return start, np.concatenate([np.empty(0), *lists]).astype(np.uint64)


def _fail(
    network: ReactionNetwork,
    ending: int,
    trajectory: int,
    time: float,
    reaction: int,
    counts: IntArray,
    max_events: int,
) -> NoReturn:
    state = dict(zip(network.species, counts.tolist(), strict=True))
    if ending == _direct.EVENT_LIMIT:
        raise RuntimeError(
            f"trajectory {trajectory} reached max_events={max_events} at time {time:g} with counts "
            f"{state}; raise max_events or shorten the times"
        )
    if ending == _direct.NEGATIVE_COUNT:
        raise ValueError(
            f"function let reaction {reaction} fire without its reactants: in trajectory "
            f"{trajectory} at time {time:g} it led to counts {state}; its propensity must be 0 "
            f"where a count would turn negative"
        )
    if isinstance(network.kinetics, CustomKinetics):
        network.kinetics.check_bounds(counts.astype(np.float64), network.reactions)
    propensities = network.propensities(counts).tolist()
    raise ValueError(
        f"propensities must be finite and non-negative, but in trajectory {trajectory} at time "
        f"{time:g} with counts {state} they are {propensities}"
    )
