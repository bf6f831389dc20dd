"""What users hand over, read as tensors: the one place where arrays come in.

Any real numbers are taken as they are meant. Integers and times become float64, byte order and
strides do not matter, masked entries are missing. What cannot be meant is refused by name.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lse_vi.checks import check_finite

# Least range of a column, in steps of its own type: with fewer, most of what it says is rounding.
LEVELS = 8
KINDS = {"b": "booleans", "c": "complex numbers", "U": "text", "S": "bytes", "O": "objects"}


class Numbers(NamedTuple):
    """Numbers as a floating tensor without gradient, and which of them are missing (None: none)."""

    values: Tensor
    missing: Tensor | None


def read(name: str, x: Any) -> Numbers:
    """Numbers of any real type: float32 stays float32, all else that is wider becomes float64.

    Args:
        x: a tensor, an array, a masked array, a table, or nested lists. Times are counted in the
            unit of their type, from its own origin.

    Raises:
        TypeError: for booleans, complex numbers, text and objects.
    """
    if isinstance(x, Tensor):
        if x.dtype == torch.bool or x.is_complex():
            raise _no_numbers(name, "booleans" if x.dtype == torch.bool else "complex numbers")
        x = x.clone() if x.is_inference() and not torch.is_inference_mode_enabled() else x
        floats = x.detach() if x.is_floating_point() else x.detach().to(torch.float64)
        return Numbers(floats.float() if floats.element_size() < 4 else floats, None)
    if x is None:
        raise _no_numbers(name, "None")
    masked = np.ma.isMaskedArray(x)
    missing = np.ma.getmaskarray(x) if masked else _not_available(x)
    try:
        array = np.asarray(np.ma.getdata(x) if masked else x)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"{name} must have rows of one length ({error})") from error
    if array.dtype == object:
        array, missing = _of_objects(name, x, array, missing)
    if array.dtype.kind in "mM":
        missing = np.isnat(array) if missing is None else missing | np.isnat(array)
        array = array.view(np.int64)
    if array.dtype.kind in KINDS:
        raise _no_numbers(name, KINDS[array.dtype.kind])
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    numbers = np.asarray(array, dtype=np.float32 if single else np.float64, order="C")
    values = torch.as_tensor(numbers if numbers.flags.writeable else numbers.copy())
    if missing is None or not missing.any():
        return Numbers(values, None)
    return Numbers(values, torch.as_tensor(np.ascontiguousarray(missing)))


def as_floats(name: str, x: Any) -> Tensor:
    """The numbers of ``x``, none of which may be missing.

    Raises:
        TypeError: as :func:`read`.
        ValueError: for masked entries.
    """
    values, missing = read(name, x)
    if missing is not None:
        raise ValueError(
            f"{name} must have no missing entries here, but {int(missing.sum())} of its "
            f"{missing.numel()} are masked; drop or impute them first"
        )
    return values


def as_points(name: str, x: Any, minimum: int = 1) -> Tensor:
    """Points (n, dim) or (n,) as finite floats (n, dim), without those that miss an entry.

    Args:
        name: of the argument, for the errors.
        x: as for :func:`read`.
        minimum: the least number of points.

    Raises:
        TypeError: as :func:`read`.
        ValueError: for another shape, an empty array, NaN or infinity, or fewer points than
            ``minimum``.

    Example:
        >>> as_points("x", np.ma.masked_equal([1, -999, 3], -999)).flatten()
        tensor([1., 3.], dtype=torch.float64)
    """
    data, missing = read(name, x)
    if data.dim() == 1:
        data = data.unsqueeze(-1)
    if data.dim() != 2:
        raise ValueError(f"{name} must have shape (n, dim) or (n,), but got {tuple(data.shape)}")
    if missing is not None:
        data = data[~missing.reshape(data.shape).any(-1)]
    if data.numel() == 0:
        raise ValueError(f"{name} is empty: shape {tuple(data.shape)}")
    check_finite(name, data)
    if data.shape[0] < minimum:
        raise ValueError(f"{name} needs at least {minimum} points, but got {data.shape[0]}")
    return data


def as_data(name: str, x: Any, minimum: int = 1) -> Tensor:
    """The points of a fit: as :func:`as_points`, and each column must vary beyond its rounding.

    Raises:
        TypeError, ValueError: as :func:`as_points`; for a column that varies by less than eight
            steps of its type.
    """
    data = as_points(name, x, minimum)
    check_resolved(name, data.amin(0), data.amax(0))
    return data


def check_resolved(name: str, low: Tensor, high: Tensor) -> None:
    """Columns between ``low`` and ``high``, (*batch, dim), must span some numbers of their type.

    A constant column passes: that is another fault, for others to name.
    """
    step = torch.finfo(low.dtype).eps * torch.maximum(low.abs(), high.abs())
    lost = ((high - low) < LEVELS * step) & (high > low)
    lost = lost.reshape(-1, low.shape[-1]).any(0)
    if bool(lost.any()):
        kind = str(low.dtype).removeprefix("torch.")
        raise ValueError(
            f"{name} varies in column {lost.nonzero().flatten().tolist()} by less than {LEVELS} "
            f"steps of {kind} at its size, so most of what it says is rounding; subtract an offset "
            "(such as its first value) where the numbers are still exact"
        )


def _not_available(x: Any) -> np.ndarray | None:
    """Where a series or table of nullable columns has no entry; None for anything else.

    A NaN in a plain column of floats is a NaN, and refused as such.
    """
    if not hasattr(x, "isna"):
        return None
    dtypes = [x.dtype] if hasattr(x, "dtype") else list(x.dtypes)
    nullable = np.array([not isinstance(dtype, np.dtype) for dtype in dtypes])
    return np.asarray(x.isna()) & nullable if nullable.any() else None


def _of_objects(
    name: str, x: Any, array: np.ndarray, missing: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that a table holds as objects, such as pandas' nullable integers."""
    flat = array.ravel()
    gone = np.array([v is None or type(v).__name__ in ("NAType", "NaTType") for v in flat], bool)
    if missing is not None:
        gone |= missing.ravel()
    kinds = {type(v).__name__ for v, absent in zip(flat, gone, strict=True) if not absent}
    try:
        numbers = np.array(
            [0.0 if absent else _number(v) for v, absent in zip(flat, gone, strict=True)]
        )
    except (TypeError, ValueError) as error:
        columns = _text_columns(x)
        listed = ", ".join(map(repr, columns))
        where = f" in column {listed}; leave out what is not fitted" if columns else ""
        raise _no_numbers(name, f"{' and '.join(sorted(kinds))}{where}") from error
    return numbers.reshape(array.shape), gone.reshape(array.shape)


def _number(value: Any) -> float:
    """A real number; text that looks like one is none."""
    if isinstance(value, str | bytes | bool | complex | np.bool_):
        raise TypeError
    return float(value)


def _text_columns(x: Any) -> list[Any]:
    """The columns of a table that hold no numbers."""
    dtypes = getattr(x, "dtypes", None)
    if dtypes is None or not hasattr(dtypes, "items"):
        return []
    return [label for label, dtype in dtypes.items() if getattr(dtype, "kind", "O") not in "fiu"]


def _no_numbers(name: str, kind: str) -> TypeError:
    hint = "; a file is read by pandas.read_csv first" if kind == "text" else ""
    return TypeError(f"{name} must hold real numbers, but got {kind}{hint}")
