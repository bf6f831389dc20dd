"""The direct method, compiled: random numbers, one trajectory, and a batch of them.

`gillespie` is what a user calls; this file is for those who want to know or change how it works.
The random numbers live here too because numba compiles a cached function again only after an edit
of the function's own file. Three choices make the inner loop fast: every index is unsigned (numba
tests a signed one for being negative), every helper is inlined (a call would pass a dozen array
fields), and the argument `function` is None for mass action, so that numba drops the branches for
custom kinetics at compile time.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import njit

from data_gen.arrays import FloatArray, IndexArray, IntArray
from data_gen.networks import Propensities

u64: Any = numba.uint64  # a uint64 meets only its like: with an int64 numba makes a float64
Word = Any  # a uint64 in compiled code

DONE, EVENT_LIMIT, BAD_PROPENSITY, NEGATIVE_COUNT, STOPPED = range(5)
"""How a trajectory can end."""

LOOK = 2**16 - 1  # a trajectory looks at its flag every 65,536 events: some milliseconds


class Tables(NamedTuple):
    """A network as flat arrays; row j of a list lies in start[j]:start[j + 1].

    A mass-action propensity is rates[j] * prod_i (x[factor_species[j, i]] - factor_shift[j, i]).
    Short products are padded with a last, dummy species whose count stays one.
    """

    rates: FloatArray
    factor_species: IndexArray
    factor_shift: FloatArray
    change_start: IndexArray
    change_species: IndexArray
    change: FloatArray
    dependent_start: IndexArray
    dependent: IndexArray  # the reactions whose propensity reaction j changes


# --- random numbers -----------------------------------------------------------------------------
# Each trajectory owns a xoshiro256++ generator (Blackman & Vigna 2021, doi:10.1145/3460772): 256
# bits of state, four words in cache, passes BigCrush. Its seed is words 4i..4i+3 of the SplitMix64
# stream of the key, so trajectory i has the same bits for any thread count and any batch size. The
# words are a bijection of their counter: no two trajectories share one and no state is all zero.


@njit(inline="always")
def _seed(state: IndexArray, key: Word, trajectory: Word) -> None:
    for word in range(u64(4)):
        counter = u64(4) * trajectory + word + u64(1)
        z = key + u64(0x9E3779B97F4A7C15) * counter
        z = (z ^ (z >> u64(30))) * u64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> u64(27))) * u64(0x94D049BB133111EB)
        state[word] = z ^ (z >> u64(31))


@njit(inline="always")
def _bits(state: IndexArray) -> Word:
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    r = s0 + s3
    state[0] = s0 ^ s3 ^ s1
    state[1] = s1 ^ s2 ^ s0
    state[2] = s2 ^ s0 ^ (s1 << u64(17))
    state[3] = ((s3 ^ s1) << u64(45)) | ((s3 ^ s1) >> u64(19))
    return ((r << u64(23)) | (r >> u64(41))) + s0


@njit(inline="always")
def _fraction(bits: Word) -> float:
    """The top 53 bits as a number in [0, 1)."""
    return float(bits >> u64(11)) * 2.0**-53


def _ziggurat() -> tuple[FloatArray, FloatArray]:
    """Edges x and heights exp(-x) of 256 layers of equal area under exp(-x).

    Marsaglia & Tsang 2000, doi:10.18637/jss.v005.i08; x[1] is where the tail starts.
    """
    tail = 7.69711747013104972
    area = (tail + 1.0) * math.exp(-tail)
    x = [area / math.exp(-tail), tail]
    while len(x) < 256:
        x.append(-math.log(area / x[-1] + math.exp(-x[-1])))
    x.append(0.0)
    return np.array(x), np.exp(-np.array(x))


_EDGE, _HEIGHT = _ziggurat()


@njit(inline="always")
def _exponential(state: IndexArray) -> float:
    """A unit exponential: 99 in 100 times one look-up and no logarithm."""
    bits = _bits(state)
    layer = bits & u64(255)  # the lowest 8 bits; _fraction reads the top 53
    x: float = _fraction(bits) * _EDGE[layer]
    if x < _EDGE[layer + u64(1)]:
        return x
    return float(_exponential_edge(state, layer, x))


@njit()
def _exponential_edge(state: IndexArray, layer: Word, x: float) -> float:
    """Finish a draw that fell outside its layer's certain part."""
    offset = 0.0
    while True:
        if layer == 0:  # an exponential has no memory: its tail is one again, shifted
            offset += _EDGE[1]
        else:
            low, high = _HEIGHT[layer], _HEIGHT[layer + u64(1)]
            if low + _fraction(_bits(state)) * (high - low) < math.exp(-x):
                return offset + x
        bits = _bits(state)
        layer = bits & u64(255)
        x = float(_fraction(bits) * _EDGE[layer])
        if x < _EDGE[layer + u64(1)]:
            return offset + x


# --- the direct method (Gillespie 1977, doi:10.1021/j100540a008) --------------------------------


@njit(inline="always")
def _mass_action(j: Word, x: FloatArray, tables: Tables) -> float:
    propensity = float(tables.rates[j])
    for i in range(u64(tables.factor_species.shape[1])):
        count = x[tables.factor_species[j, i]]
        propensity *= float(count - tables.factor_shift[j, i])
    return propensity


@njit(inline="always")
def _change(j: Word, x: FloatArray, tables: Tables) -> float:
    """Let reaction j change the counts; return the lowest of zero and the new counts."""
    lowest = 0.0
    for i in range(tables.change_start[j], tables.change_start[j + u64(1)]):
        s = tables.change_species[i]
        x[s] += tables.change[i]
        lowest = min(lowest, x[s])
    return lowest


@njit(inline="always")
def _update(j: Word, x: FloatArray, tables: Tables, propensity: FloatArray) -> None:
    """Renew the mass-action propensities that read what reaction j has changed."""
    for i in range(tables.dependent_start[j], tables.dependent_start[j + u64(1)]):
        k = tables.dependent[i]
        propensity[k] = _mass_action(k, x, tables)


@njit(inline="always")
def _choose(cumulative: FloatArray, level: float) -> Word:
    """The reaction whose share of the total holds `level`, without a branch to mispredict.

    level < total, so the chosen j has cumulative[j-1] <= level < cumulative[j]: its propensity is
    positive, and a reaction that cannot fire is never chosen.
    """
    j = u64(0)
    for i in range(u64(len(cumulative)) - u64(1)):
        j += u64(level >= cumulative[i])
    return j


@njit(cache=True, nogil=True, error_model="numpy")
def trajectory(
    index: int,
    key: Word,
    x0: FloatArray,
    tables: Tables,
    function: Propensities | None,
    max_events: int,
    times: FloatArray,
    grid: IntArray,
    event_times: FloatArray,
    event_counts: IntArray,
    stop: IntArray,
) -> tuple[int, int, float, int]:
    """Run one trajectory past the last of `times`; return (ending, events, time, reaction).

    It gives up soon after `stop` (1,) is not zero any more.

    The state at each of `times` goes to grid (times, species), the first events to `event_times`
    (capacity,) and `event_counts` (capacity, species). A trajectory that cannot go on leaves its
    last state in the last row of the grid, and its last reaction in the return value.
    """
    species = grid.shape[1]
    reactions = u64(len(tables.change_start)) - u64(1)
    x = x0.copy()
    propensity = np.empty(reactions)
    cumulative = np.empty(reactions)
    state = np.empty(4, np.uint64)
    _seed(state, key, u64(index))
    if function is None:
        for j in range(reactions):
            propensity[j] = _mass_action(j, x, tables)
    else:
        propensity[:] = np.nan  # an entry that the function does not write is refused below
        function(x, tables.rates, propensity)

    t, events, recorded, j = 0.0, 0, 0, u64(0)
    ending = DONE
    while True:
        total = 0.0
        for i in range(reactions):
            if function is not None and not propensity[i] >= 0.0:
                ending = BAD_PROPENSITY
            total += propensity[i]
            cumulative[i] = total
        if ending != DONE or not total < np.inf:
            ending = BAD_PROPENSITY
            break

        if total > 0.0:
            t += _exponential(state) / total
        else:
            t = np.inf  # nothing can fire any more
        if t > times[recorded]:
            while recorded < len(times) and times[recorded] < t:
                for s in range(species):
                    grid[recorded, s] = int(x[s])
                recorded += 1
            if recorded == len(times):
                return DONE, events, t, 0
        if events == max_events:
            ending = EVENT_LIMIT
            break
        if events & LOOK == 0 and stop[0] != 0:
            ending = STOPPED
            break

        j = _choose(cumulative, _fraction(_bits(state)) * total)
        lowest = _change(j, x, tables)
        if function is None:
            _update(j, x, tables, propensity)
        elif lowest < 0.0:
            ending = NEGATIVE_COUNT
            break
        else:
            propensity[:] = np.nan
            function(x, tables.rates, propensity)
        if events < len(event_times):
            event_times[events] = t
            for s in range(species):
                event_counts[events, s] = int(x[s])
        events += 1

    for s in range(species):
        grid[-1, s] = int(x[s])
    return ending, events, t, int(j)


@njit(cache=True, nogil=True)
def batch(
    first: int,
    key: Word,
    x0: FloatArray,
    tables: Tables,
    function: Propensities | None,
    max_events: int,
    times: FloatArray,
    grids: IntArray,
    endings: IntArray,
    stops: FloatArray,
    stop: IntArray,
) -> None:
    """Trajectories first, first + 1, ... into grids (trajectories, times, species).

    `endings` (trajectories, 2) takes how each ended and its last reaction, `stops` its last time.
    """
    no_times, no_counts = np.empty(0), np.empty((0, 0), np.int64)
    for i in range(len(grids)):
        ending, _, t, j = trajectory(
            first + i, key, x0, tables, function, max_events, times, grids[i], no_times, no_counts,
            stop,
        )  # fmt: skip
        if ending == STOPPED:
            return
        endings[i, 0] = ending
        endings[i, 1] = j
        stops[i] = t
