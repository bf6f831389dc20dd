"""Checks of arguments that several generators share; each error names the argument."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from data_gen.arrays import FloatArray, IntArray

LARGEST_COUNT = 2**53
"""Counts above this are not whole numbers in float64."""


def whole_number(name: str, value: object, *, minimum: int) -> int:
    """`value` as an int of at least `minimum`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, but got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, but got {value}")
    return int(value)


def positive(name: str, value: ArrayLike) -> float:
    """`value` as a finite float above zero."""
    number = float(real_array(name, value, ndim=0))
    if number <= 0:
        raise ValueError(f"{name} must be positive, but got {number}")
    return number


def real_array(name: str, value: ArrayLike, *, ndim: int) -> FloatArray:
    """`value` as a finite float64 array with `ndim` axes; a copy that shares nothing."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be real numbers, but got {value!r}") from error
    if array.ndim != ndim:
        form = ("a single number", "a vector", "a matrix")[ndim]
        raise ValueError(f"{name} must be {form}, but got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, but got {array[~np.isfinite(array)][0]}")
    return array


def whole_array(name: str, value: ArrayLike, *, ndim: int) -> IntArray:
    """`value` as an int64 array with `ndim` axes; floats must be whole."""
    array = real_array(name, value, ndim=ndim)
    wrong = (array != np.rint(array)) | (np.abs(array) > LARGEST_COUNT)
    if wrong.any():
        raise ValueError(
            f"{name} must be whole numbers of at most 2**53, but got {array[wrong][0]}"
        )
    return array.astype(np.int64)


def non_negative(name: str, array: FloatArray | IntArray) -> None:
    """Raise unless every entry of `array` is at least zero."""
    if (array < 0).any():
        raise ValueError(f"{name} must be non-negative, but got {array[array < 0][0]}")


def time_grid(name: str, value: ArrayLike) -> FloatArray:
    """`value` as a non-empty, strictly increasing vector of times >= 0."""
    times = real_array(name, value, ndim=1)
    if times.size == 0:
        raise ValueError(f"{name} must hold at least one time, but got none")
    non_negative(name, times)
    if (np.diff(times) <= 0).any():
        raise ValueError(f"{name} must be strictly increasing, but got {times.tolist()}")
    return times
