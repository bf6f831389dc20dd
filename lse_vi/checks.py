"""Checks of arguments: each error names the argument, what was expected, and what came.

Call them first in a public function, before any work, for what its annotations cannot say, such as
a range or a shape; :func:`~lse_vi.signatures.checked` reads these. A wrong kind of object raises
TypeError, a wrong value ValueError. The checks of numbers and options return the value, converted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST_PARAMETERS = 2**20  # of a fit; its steps cost as much as this times the number of points
LARGEST_ARRAY = 2**30  # numbers of an array: 8 GB in double precision
LARGEST = 2**63  # what an integer of a tensor, a size or a seed must stay below


def check_integer(name: str, value: Any) -> int:
    """``value`` as an int; a bool is refused."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, but got {shown(value)}")
    if abs(int(value)) >= LARGEST:
        raise ValueError(f"{name} must be below 2^63, but got {value}")
    return int(value)


def check_count(name: str, value: Any, minimum: int = 1) -> int:
    """``value`` as an int >= ``minimum``; a bool is refused."""
    count = check_integer(name, value)
    if count < minimum:
        raise ValueError(f"{name} must be at least {minimum}, but got {value}")
    return count


def check_counts(name: str, values: Any) -> tuple[int, ...]:
    """``values`` as a tuple of ints >= 1."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a sequence of integers, but got {values!r}")
    return tuple(check_count(name, value) for value in values)


def as_number(name: str, value: Any) -> float:
    """``value`` as a float; a bool and a string of digits are refused."""
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0:
        value = value.item()
    real = isinstance(value, (int, float, np.integer, np.floating))
    if isinstance(value, bool) or not real:
        raise TypeError(f"{name} must be a number, but got {shown(value)}")
    return float(value)


def check_seed(name: str, value: Any) -> int:
    """``value`` as an int that every generator takes: not negative."""
    return check_count(name, value, 0)


def check_number(name: str, value: Any) -> float:
    """``value`` as a float that is not NaN."""
    number = as_number(name, value)
    if math.isnan(number):
        raise ValueError(f"{name} must be a number, but got {value}")
    return number


def check_positive(name: str, value: Any) -> float:
    """``value`` as a finite float > 0."""
    number = as_number(name, value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be a positive number, but got {value}")
    return number


def check_fraction(name: str, value: Any) -> float:
    """``value`` as a float in [0, 1)."""
    number = as_number(name, value)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be in [0, 1), but got {value}")
    return number


def as_levels(name: str, levels: Any) -> Tensor:
    """Probabilities (n,) in [0, 1]."""
    given = torch.as_tensor(levels)
    if given.dim() != 1 or not bool(((given >= 0) & (given <= 1)).all()):
        raise ValueError(f"{name} must be a sequence of numbers in [0, 1], but got {shown(levels)}")
    return given


def check_dim(name: str, x: Tensor, dim: int) -> None:
    """``x`` must have last dimension ``dim``."""
    if x.dim() == 0 or x.shape[-1] != dim:
        raise ValueError(
            f"{name} must have last dimension {dim} (one entry per coordinate), "
            f"but got shape {tuple(x.shape)}"
        )


def check_tensor(name: str, x: Any) -> Tensor:
    """``x``, which must be a tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} must be a tensor, but got {type(x).__name__}; torch.as_tensor(...) makes one"
        )
    return x


def check_broadcast(name: str, x: Tensor, batch_shape: torch.Size) -> torch.Size:
    """The shape (*sample, *batch) of points (*sample, *batch, dim) beside ``batch_shape``."""
    try:
        return torch.broadcast_shapes(x.shape[:-1], batch_shape)
    except RuntimeError as error:
        raise ValueError(
            f"{name} must broadcast to (*sample, *batch, dim), but got shape {tuple(x.shape)} for "
            f"batch_shape {tuple(batch_shape)}"
        ) from error


def check_points(name: str, x: Any, dim: int, dtype: torch.dtype) -> None:
    """``x`` must be a tensor (..., dim) of ``dtype``."""
    check_tensor(name, x)
    check_dim(name, x, dim)
    if x.dtype != dtype:
        raise TypeError(f"{name} must be of dtype {dtype}, as the parameters, but got {x.dtype}")


def check_finite(name: str, x: Tensor) -> None:
    """``x`` must hold no NaN and no infinity."""
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise ValueError(
            f"{name} must be finite, but {bad} of its {x.numel()} entries are NaN or infinite; "
            "drop or impute them first"
        )


def check_spread(name: str, low: Tensor, high: Tensor) -> None:
    """Data with minima ``low`` and maxima ``high`` (*batch, dim) must vary in every column."""
    constant = (low == high).reshape(-1, low.shape[-1]).any(0)
    if bool(constant.any()):
        raise ValueError(
            f"{name} is constant in column {constant.nonzero().flatten().tolist()}: a density "
            "needs spread in every coordinate; drop that column"
        )


def check_enough(name: str, n: int, dim: int) -> None:
    """``n`` must be at least 2 (dim + 1), twice what a covariance of full rank needs."""
    minimum = 2 * (dim + 1)
    if n < minimum:
        turned = "; its rows are points: give the transpose, .T" if n < dim else ""
        raise ValueError(
            f"{name} needs at least {minimum} points for a density in {dim} dimensions, besides "
            f"any held out, but got {n}{turned}"
        )


def check_size(names: str, numbers: int) -> None:
    """An array of so many ``numbers``, which the arguments ``names`` ask for, must fit in memory.

    It is called before memory is taken: what then fails may be any other program.
    """
    if numbers > LARGEST_ARRAY:
        raise ValueError(
            f"{names} must be smaller: an array of {numbers:.2g} numbers would be needed, and the "
            f"largest that is made has {LARGEST_ARRAY:.2g}"
        )


def check_index(name: str, index: Any, shape: Iterable[int]) -> tuple[int, ...]:
    """``index`` as a tuple of integers, of an entry in an array of ``shape`` or of part of it."""
    single = isinstance(index, (int, np.integer))
    where = (index,) if single or not isinstance(index, Iterable) else tuple(index)
    where = tuple(check_integer(name, i) for i in where)
    sizes = tuple(shape)
    inside = all(-size <= i < size for i, size in zip(where, sizes, strict=False))
    if len(where) > len(sizes) or not inside:
        raise ValueError(f"{name} must be inside batch_shape {sizes}, but got {shown(index)}")
    return where


def check_parameters(names: str, numbers: int) -> None:
    """A fit of so many parameters, which ``names`` ask for, must end within a day."""
    if numbers > MOST_PARAMETERS:
        raise ValueError(
            f"{names} must be smaller: a potential would have {numbers:,} parameters, and fits "
            f"take at most {MOST_PARAMETERS:,}"
        )


def check_options(name: str, value: str, options: Iterable[str]) -> str:
    """``value``, which must be one of ``options``."""
    options = sorted(options)
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, but got {value!r}")
    return value


def check_object(name: str, value: Any, method: str, examples: str) -> None:
    """``value`` must be an object, not a class, with ``method``; the error names ``examples``."""
    if isinstance(value, type) or not callable(getattr(value, method, None)):
        raise TypeError(f"{name} must be an object such as {examples}, but got {value!r}")


def check_bool(name: str, value: Any) -> bool:
    """``value`` as a bool; numbers are refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, but got {shown(value)}")
    return bool(value)


def check_device(name: str, value: Any) -> torch.device:
    """``value`` as a device of this machine."""
    if not isinstance(value, (str, torch.device)):
        raise TypeError(f"{name} must be a torch.device, but got {shown(value)}")
    try:
        torch.empty(0, device=value)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(
            f"{name} must be a device of this machine, but got {value!r}: {why}"
        ) from error
    return torch.device(value)


def check_kind(name: str, value: Any, test: Callable[[Any], bool], expected: str) -> Any:
    """``value``, which must pass ``test``; ``expected`` names what does."""
    if not test(value):
        raise TypeError(f"{name} must be {expected}, but got {shown(value)}")
    return value


def shown(value: Any) -> str:
    """``value`` as errors show it: in full if that is short, else by its type."""
    if isinstance(value, (int, float, str, type, type(None), list, tuple, dict)):
        text = repr(value)
        if len(text) <= 60:
            return text
    return type(value).__name__
