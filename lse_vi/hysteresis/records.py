"""Tests as the user has them, as columns of one type: arrays, tensors, lists or tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lse_vi.numerics.arrays import as_floats

Column = NDArray[np.float64]
LEAST_ROWS = 10  # of a test: a loop with fewer has no branches
FORMS = (
    "tests must be a list with one (strain, stress) or (time, strain, stress) for each test, or a "
    "table for each"
)


@dataclass(frozen=True)
class Record:
    """One test.

    Attributes:
        name: for reports: that of its file, or its number.
        strain, stress: (rows,), in the user's units.
        times: (rows,), increasing, or None.
    """

    name: str
    strain: Column
    stress: Column
    times: Column | None


def read_tests(
    tests: Any, *, strain: str, stress: str, times: str, names: Sequence[str] | None = None
) -> list[Record]:
    """The tests of a fit.

    Args:
        tests: a list of (strain, stress) or (time, strain, stress), of arrays (rows, 2) or
            (rows, 3) with these columns, or of tables with columns of the names below; or a single
            one of these.
        strain, stress, times: names of columns in tables; the last may be missing there.
        names: of the tests, for reports.

    Raises:
        TypeError: for something else, or for columns that hold no real numbers.
        ValueError: for no tests, columns of different lengths, too few rows, missing or infinite
            entries, times that do not increase, and strains or stresses that do not vary.
    """
    listed = [tests] if _is_one(tests) else list(_listed(tests))
    if not listed:
        raise ValueError("tests must hold one test or more, but is empty")
    columns = {"strain": strain, "stress": stress, "times": times}
    found = [_one(f"tests[{i}]", test, columns) for i, test in enumerate(listed)]
    labels = [str(i) for i in range(len(found))] if names is None else list(names)
    if len(labels) != len(found):
        raise ValueError(f"names must be {len(found)}, one for each test, but are {len(labels)}")
    return [
        checked(f"tests[{i}]", label, *parts)
        for i, (label, parts) in enumerate(zip(labels, found, strict=True))
    ]


def as_column(name: str, values: Any) -> Column:
    """``values`` as a finite float64 array (rows,)."""
    numbers = as_floats(name, values).double().cpu().numpy()
    if numbers.ndim != 1:
        raise ValueError(f"{name} must be one column of numbers, but got shape {numbers.shape}")
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise ValueError(
            f"{name} must be finite, but {len(bad)} of its {len(numbers)} entries are NaN or "
            f"infinite, the first in row {bad[0]}; drop these rows first"
        )
    return numbers


def _listed(tests: Any) -> Sequence[Any]:
    if isinstance(tests, (list, tuple)):
        return tests
    raise TypeError(f"{FORMS}, but got {type(tests).__name__}")


def _is_one(tests: Any) -> bool:
    """Whether ``tests`` is a single test: a table, an array (rows, 2 or 3), or 2 or 3 columns."""
    if hasattr(tests, "columns") or isinstance(tests, (np.ndarray, Tensor)):
        return True
    if not isinstance(tests, (list, tuple)) or len(tests) not in (2, 3):
        return False
    return all(not hasattr(part, "columns") and _is_column(part) for part in tests)


def _is_column(part: Any) -> bool:
    """Whether ``part`` is one column of numbers."""
    try:
        return np.ndim(part) == 1 and not isinstance(part, str)
    except ValueError:  # nested lists of different lengths
        return False


def _one(name: str, test: Any, columns: dict[str, str]) -> tuple[Column, Column, Column | None]:
    """Strain, stress and times of one test."""
    if hasattr(test, "columns"):
        return _of_table(name, test, columns)
    if isinstance(test, (np.ndarray, Tensor)) and test.ndim == 2 and test.shape[1] in (2, 3):
        test = tuple(test.T)
    if not isinstance(test, (list, tuple)) or len(test) not in (2, 3):
        came = f"shape {tuple(test.shape)}" if hasattr(test, "shape") else type(test).__name__
        if isinstance(test, (list, tuple)):
            came = f"{len(test)} parts"
        if _is_column(test):
            came += "; one test is fit_memory((strain, stress))"
        raise TypeError(f"{FORMS}, but {name} has {came}")
    *clock, strain, stress = test
    times = as_column(f"{name}, times", clock[0]) if clock else None
    return as_column(f"{name}, strain", strain), as_column(f"{name}, stress", stress), times


def _of_table(name: str, table: Any, columns: dict[str, str]) -> tuple[Any, Any, Any]:
    """The columns of a table."""
    header = list(table.columns)
    for role in ("strain", "stress"):
        if columns[role] not in header:
            raise ValueError(
                f"{name} has no column {columns[role]!r}, but {', '.join(map(str, header))}; name "
                f"the right one by {role}="
            )
        if header.count(columns[role]) > 1:
            raise ValueError(f"{name} has more than one column {columns[role]!r}")
    strain, stress = (
        as_column(f"{name}, {columns[role]}", table[columns[role]]) for role in ("strain", "stress")
    )
    timed = columns["times"] in header
    times = as_column(f"{name}, {columns['times']}", table[columns["times"]]) if timed else None
    return strain, stress, times


def checked(name: str, label: str, strain: Column, stress: Column, times: Column | None) -> Record:
    """A test whose columns fit together."""
    lengths = {"strain": len(strain), "stress": len(stress)}
    if times is not None:
        lengths["times"] = len(times)
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{n} of {role}" for role, n in lengths.items())
        raise ValueError(f"{name} must have columns of one length, but has {given}")
    if len(strain) < LEAST_ROWS:
        raise ValueError(f"{name} needs at least {LEAST_ROWS} rows, but has {len(strain)}")
    for role, values in (("strain", strain), ("stress", stress)):
        if values.min() == values.max():
            raise ValueError(f"{name}, {role} must vary, but is {values[0]:g} in every row")
    if times is not None and not (np.diff(times) > 0).all():
        row = int(np.flatnonzero(np.diff(times) <= 0)[0]) + 1
        kind = "is repeated" if times[row] == times[row - 1] else "goes back"
        raise ValueError(
            f"{name}, times must increase, but {times[row]:g} in row {row} {kind} after "
            f"{times[row - 1]:g}; sort the rows, and average or drop repeated ones"
        )
    return Record(label, strain, stress, times)
