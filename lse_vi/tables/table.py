"""Tables as users have them: columns by name, groups of any lengths, cells that are missing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

FEWEST_TIMES = 4  # columns named by increasing numbers that look like times, not like coordinates


class Table(NamedTuple):
    """What a fit takes from a table, or from anything else, as it is.

    Attributes:
        x: numbers (n, dim) or as given; (n, groups, dim) with groups, of which the shorter ones are
            filled up with their own first row.
        weights: of the rows; with groups (n, groups), 0 where they are filled up.
        labels: of the groups; empty without.
        names: of the coordinates; empty where none are known.
        missing: number of rows left out because an entry was missing.
        by: the column by which the rows are grouped.
        weighted: whether weights were given, other than those of filled up groups.
    """

    x: Any
    weights: Any
    labels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    missing: int = 0
    by: str | None = None
    weighted: bool = False

    @classmethod
    def of(
        cls, x: Any, weights: Any = None, value: str | Sequence[str] | None = None, by: Any = None
    ) -> Table:
        """Columns ``value`` of a table ``x``, in one group for each entry of the column ``by``.

        Without ``value`` all is taken as it is given. With it, rows that miss an entry are left
        out, and counted.

        Args:
            x: a DataFrame, if ``value`` is given.
            weights: of the rows, or the name of a column.
            value: a column, or several.
            by: a column, e.g. the time.

        Raises:
            TypeError: if ``x`` is no table, though columns are named.
            ValueError: for columns that are not there, or hold only missing entries.

        Example:
            >>> frame = pd.DataFrame({"t": [0, 0, 1], "y": [1.0, np.nan, 3.0]})
            >>> table = Table.of(frame, value="y", by="t")
            >>> table.x.shape, table.labels, table.missing
            ((1, 2, 1), ('0', '1'), 1)
        """
        given = weights is not None
        if value is None and by is None and not isinstance(weights, str):
            names = _names(x)
            if not isinstance(getattr(x, "columns", None), pd.RangeIndex):  # which nobody named
                _ask_about_times(names)
            return cls(x, weights, names=names, weighted=given)
        if not isinstance(x, pd.DataFrame):
            raise TypeError(
                "value, by and weights can name columns of a DataFrame, but x is "
                f"{type(x).__name__}"
            )
        if value is None:
            value = [str(c) for c in x.columns if c not in (by, weights)]
            text = [c for c in value if c in x and not pd.api.types.is_numeric_dtype(x[c])]
            if text:
                raise TypeError(
                    f"value must name the columns of numbers, as {', '.join(map(repr, text))} "
                    "holds none, but got None"
                )
        columns = [value] if isinstance(value, str) else list(value)
        extra = [name for name in (by, weights) if isinstance(name, str)]
        check_columns(x, [*columns, *extra])
        whole = x[x[[*columns, *extra]].notna().all(axis=1)]
        missing = len(x) - len(whole)
        if not len(whole):
            raise ValueError(f"value: no row has entries in all of {', '.join(columns + extra)}")
        worth = weights
        if isinstance(weights, str):
            worth = whole[weights].to_numpy()
        elif weights is not None:
            worth = np.asarray(weights)[x.index.get_indexer(whole.index)]
        names = tuple(columns)
        if by is None:
            return cls(whole[columns], worth, names=names, missing=missing, weighted=given)
        groups = {str(key): rows for key, rows in whole.groupby(by, sort=True).indices.items()}
        most = max(map(len, groups.values()))
        numbers = whole[columns].to_numpy()
        ones = np.ones(len(whole), dtype=np.int64) if worth is None else worth
        filled = [np.pad(rows, (0, most - len(rows)), mode="edge") for rows in groups.values()]
        inside = [np.arange(most) < len(rows) for rows in groups.values()]
        return cls(
            np.stack([numbers[rows] for rows in filled], axis=1),
            np.stack([ones[rows] * kept for rows, kept in zip(filled, inside, strict=True)], 1),
            tuple(groups),
            names,
            missing,
            str(by),
            given,
        )


def check_columns(table: pd.DataFrame, names: Sequence[str]) -> None:
    """All ``names`` must be columns of ``table``, once; the error names the nearest that is one."""
    there = [str(c) for c in table.columns]
    for name in names:
        if name not in table.columns:
            near = get_close_matches(str(name), there, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"there is no column {name!r} in {', '.join(there)}{hint}")
        if (count := there.count(str(name))) > 1:
            raise ValueError(f"{count} columns are named {name!r}; rename all but one")


def _ask_about_times(names: Sequence[str]) -> None:
    """A wide table of tracks has a column for each time: as points it would mean something else."""
    try:
        numbers = np.array([float(name) for name in names])
    except ValueError:
        return
    if len(numbers) >= FEWEST_TIMES and bool((np.diff(numbers) > 0).all()):
        warnings.warn(
            f"x has {len(names)} columns named {names[0]}, {names[1]}, ... {names[-1]}, and is "
            f"taken as points in {len(names)} dimensions. If these are times, give each a fit: "
            'fit_density(x.melt(var_name="time", value_name="y"), value="y", by="time")',
            UserWarning,
            stacklevel=4,
        )


def _names(x: Any) -> tuple[str, ...]:
    """The names that a DataFrame or a Series has; none for anything else."""
    if isinstance(x, pd.DataFrame):
        return tuple(map(str, x.columns))
    return (str(x.name),) if isinstance(x, pd.Series) and x.name is not None else ()
