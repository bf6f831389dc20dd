"""What is known of the modes of a density before the data, for standardised data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple


class Prior(NamedTuple):
    """Normal priors (mean, standard deviation), for data of mean 0 and standard deviation 1.

    The defaults are weakly informative. Give others to state what you know before the data: how
    wide a mode may be, or how unequal the masses.

    Attributes:
        mass: logits of the masses pi. A larger standard deviation makes the masses less equal a
            priori.
        mean: each coordinate of m_k.
        log_scale: log of the diagonal of P_k, that is, minus the log of the mode's width.
        tilt: entries of P_k below its diagonal, in units of the diagonal entry of their row.
        slope: log of the slope |V| of a hidden unit of g_k, while it is far below the steepest
            that the nodes resolve.
        turn: entries of a unit's row of V off its own axis, in units of the entry on that axis.
        bend: distance from the peak at which a unit bends, in the frame.
        inner: raw inner weights; the weight is softplus(raw) / fan-in.
        strength: raw output weights; softplus(raw) / fan-in is how much a unit adds to g_k.

    Example:
        >>> Prior(mass=(0.0, 3.0)).mean  # less equal masses; the rest keeps its default
        (0.0, 1.0)
    """

    mass: tuple[float, float] = (0.0, 1.5)
    mean: tuple[float, float] = (0.0, 1.0)
    log_scale: tuple[float, float] = (1.0, 0.8)
    tilt: tuple[float, float] = (0.0, 1.0)
    slope: tuple[float, float] = (1.0, 1.0)
    turn: tuple[float, float] = (0.0, 1.0)
    bend: tuple[float, float] = (0.3, 0.5)
    inner: tuple[float, float] = (0.5, 1.0)
    strength: tuple[float, float] = (0.0, 2.0)


def check_prior(prior: Prior) -> Prior:
    """``prior``; each of its entries must be a mean and a standard deviation > 0."""
    if not isinstance(prior, Prior):
        raise TypeError(f"prior must be a Prior, but got {type(prior).__name__}")
    for name, pair in prior._asdict().items():
        numbers = isinstance(pair, Sequence) and all(isinstance(v, Real) for v in pair)
        if not (numbers and len(pair) == 2 and all(map(math.isfinite, pair)) and pair[1] > 0):
            raise ValueError(
                f"prior: {name} must be a mean and a standard deviation > 0, but got {pair!r}"
            )
    return prior
