r"""Exact laws of one-species birth-death networks, from the chemical master equation.

With birth rate b(n) and death rate d(n) the probability of n copies obeys

.. math:: \dot p_n = b_{n-1} p_{n-1} + d_{n+1} p_{n+1} - (b_n + d_n) p_n,

a tridiagonal system, here cut to 0..n_max. These laws are what a fit or a simulation is compared
with: they have no sampling error.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from data_gen._validate import non_negative, positive, real_array, whole_number
from data_gen.arrays import FloatArray
from data_gen.networks import ReactionNetwork

TOLERANCE = 1e-9
"""Most probability that may be lost beyond n_max."""


def birth_death_rates(network: ReactionNetwork, n_max: int) -> tuple[FloatArray, FloatArray]:
    """Birth and death rates at 0..n_max, each of shape (n_max + 1,), per unit of time.

    Args:
        network: one species, every reaction of net change +1 or -1.
        n_max: the largest count, at least 1.

    Raises:
        ValueError: if the network is of another kind, or a propensity is negative or not finite.

    Example:
        >>> from data_gen import schlogl
        >>> birth, death = birth_death_rates(schlogl.network(), 1200)
        >>> float(birth[0]), float(death[0])
        (200.0, 0.0)
    """
    top = whole_number("n_max", n_max, minimum=1)
    if not isinstance(network, ReactionNetwork):
        raise TypeError(f"network must be a ReactionNetwork, but got {network!r}")
    if len(network.species) != 1 or (np.abs(network.stoichiometry) != 1).any():
        raise ValueError(
            f"network must have one species that every reaction changes by +1 or -1, "
            f"but got species {network.species} "
            f"and stoichiometry {network.stoichiometry.tolist()}"
        )
    propensities = network.propensities(np.arange(top + 1)[:, None])
    wrong = ~(np.isfinite(propensities) & (propensities >= 0))
    if wrong.any():
        n, j = np.argwhere(wrong)[0]
        raise ValueError(
            f"network must have finite, non-negative propensities, but that of reaction {j} "
            f"at count {n} is {propensities[n, j]}"
        )
    up = network.stoichiometry[:, 0] == 1
    birth, death = propensities[:, up].sum(axis=1), propensities[:, ~up].sum(axis=1)
    if death[0] != 0:
        raise ValueError(f"network must not lose copies at count 0, but its rate is {death[0]}")
    return birth, death


def transient_law(
    network: ReactionNetwork, x0: int, times: ArrayLike, n_max: int, *, tolerance: float = TOLERANCE
) -> FloatArray:
    r"""Probabilities of the counts 0..n_max at each time, from x0 copies at time 0.

    By uniformisation (Jensen 1953): with q the largest exit rate and the stochastic matrix
    :math:`P = I + A/q`,

    .. math:: e^{At} p = \sum_k \frac{(qt)^k e^{-qt}}{k!} P^k p.

    Every term is non-negative, so nothing cancels and no probability turns negative, even in the
    far tails. What leaves through n_max is kept in a state of its own, and that
    lost mass bounds the error of the truncation (finite state projection, Munsky & Khammash 2006,
    doi:10.1063/1.2145882). The cost is q * max(times) products of n_max additions.

    Args:
        network: one species, every reaction of net change +1 or -1.
        x0: the count at time 0, in 0..n_max.
        times: times >= 0 in any order, shape (times,), in the unit of the rates.
        n_max: the largest count that is kept.
        tolerance: most probability that may be lost beyond n_max.

    Returns:
        Probabilities of shape (times, n_max + 1); a row sums to one less the lost mass.

    Raises:
        ValueError: if an argument is out of range, or more than `tolerance` is lost.

    Example:
        >>> from data_gen.networks import MassAction
        >>> arrivals = ReactionNetwork(["X"], [[1]], MassAction([2.0], [[0]]))
        >>> law = transient_law(arrivals, 0, [0.5], n_max=40)
        >>> [round(p, 4) for p in law[0, :3].tolist()]  # Poisson of mean 1
        [0.3679, 0.3679, 0.1839]
    """
    allowed = positive("tolerance", tolerance)
    birth, death = birth_death_rates(network, n_max)
    start = whole_number("x0", x0, minimum=0)
    if start > n_max:
        raise ValueError(f"x0 must lie in 0..n_max={n_max}, but got {x0}")
    t = real_array("times", times, ndim=1)
    non_negative("times", t)

    # One more state takes what is born beyond n_max and never gives it back.
    rate = max(float((birth + death).max()), 1e-300)
    up, down = np.append(birth, 0.0) / rate, np.append(death, 0.0) / rate
    law = np.zeros(n_max + 2)
    law[start] = 1.0
    increasing, order = np.unique(t, return_inverse=True)
    laws = np.empty((len(increasing), n_max + 1))
    for i, step in enumerate(np.diff(increasing, prepend=0.0)):
        law = _powers(law, up, down, *_poisson(rate * step))
        laws[i] = law[:-1]
        if law[-1] > allowed:
            raise ValueError(
                f"n_max={n_max} is too small: probability {law[-1]:.3g} has gone beyond it by time "
                f"{increasing[i]:g}, more than tolerance={allowed:g}; raise n_max"
            )
    return laws[order]


def stationary_law(
    network: ReactionNetwork, n_max: int, *, tolerance: float = TOLERANCE
) -> FloatArray:
    r"""Probabilities of the counts 0..n_max in the long run, shape (n_max + 1,).

    One species makes detailed balance exact: :math:`\pi_n d_n = \pi_{n-1} b_{n-1}`, summed here in
    logarithms.

    Args:
        network, n_max: as in `transient_law`.
        tolerance: most probability that may lie on n_max itself.

    Raises:
        ValueError: if some count cannot be entered and left both ways, so that the long run depends
            on the start or does not exist, or if n_max cuts off more than `tolerance`.

    Example:
        >>> from data_gen.networks import MassAction
        >>> queue = ReactionNetwork(["X"], [[1], [-1]], MassAction([2.0, 2.0], [[0], [1]]))
        >>> [round(p, 4) for p in stationary_law(queue, n_max=40)[:3].tolist()]
        [0.3679, 0.3679, 0.1839]
    """
    allowed = positive("tolerance", tolerance)
    birth, death = birth_death_rates(network, n_max)
    stuck = np.flatnonzero((birth[:-1] == 0) | (death[1:] == 0))
    if stuck.size:
        n = int(stuck[0])
        raise ValueError(
            f"network must move both ways between neighbouring counts, but between {n} and "
            f"{n + 1} the birth rate is {birth[n]:g} and the death rate {death[n + 1]:g}"
        )
    log_law = np.concatenate([[0.0], np.cumsum(np.log(birth[:-1]) - np.log(death[1:]))])
    law: FloatArray = np.exp(log_law - log_law.max())
    law /= law.sum()
    if law[-1] > allowed:
        raise ValueError(
            f"n_max={n_max} is too small: it holds probability {law[-1]:.3g}, more than "
            f"tolerance={allowed:g}; raise n_max, unless the network has no stationary law"
        )
    return law


def _poisson(mean: float) -> tuple[int, FloatArray]:
    """Poisson weights of first, first + 1, ..., all but 1e-19 of their mass (Fox & Glynn 1988).

    Ratios from the mode outwards neither underflow nor cancel. Beyond h of the mean there is less
    than 2 exp(-h^2 / (2 mean + 2h/3)) <= 2 exp(-45) for h = 9.5 sqrt(mean) + 40 (Bernstein).
    """
    mode = int(mean)
    h = int(9.5 * np.sqrt(mean) + 41)
    first, last = max(0, mode - h), mode + h
    above = np.cumprod(mean / np.arange(mode + 1.0, last + 1.0))
    below = np.cumprod(np.arange(mode, first, -1.0) / max(mean, 1.0))[::-1]
    weights = np.concatenate([below, [1.0], above])
    return first, weights / weights.sum()


@njit(cache=True, nogil=True)
def _powers(
    law: FloatArray, up: FloatArray, down: FloatArray, first: int, weights: FloatArray
) -> FloatArray:
    """sum_k weights[k] P^(first + k) law, where P moves a share `up` and `down` of each state."""
    states, stay = len(law), 1.0 - (up + down)
    current, following, total = law.copy(), np.empty(states), np.zeros(states)
    for k in range(first + len(weights)):
        if k >= first:
            for n in range(states):
                total[n] += weights[k - first] * current[n]
        following[0] = stay[0] * current[0] + down[1] * current[1]
        for n in range(1, states - 1):
            moved_in = up[n - 1] * current[n - 1] + down[n + 1] * current[n + 1]
            following[n] = stay[n] * current[n] + moved_in
        following[-1] = up[-2] * current[-2] + stay[-1] * current[-1]
        current, following = following, current
    return total
