"""The table behind a command: its file, the rows and columns meant, and what is odd in them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lse_vi.tables.table import check_columns

FORMATS = ("png", "pdf", "svg")
ENDINGS = (".csv", ".txt", ".tsv", ".tab")
SEPARATORS = ",;\t"  # the one that the header has most often
FEWEST = 10  # rows of a group: with fewer there is nothing to ask about modes
# Names of a column that says what a row was measured on, as a word of the name.
UNITS = re.compile(
    r"(?:^|[^a-z])(cells?|tracks?|particles?|trajector(?:y|ies)|ids?|subjects?|patients?|donors?|"
    r"animals?|mouse|mice|embryos?|wells?|plates?|batch|colon(?:y|ies)|lineages?|replicates?)"
    r"(?:[^a-z]|$)"
)
ALIKE = 1.1  # how many rows are worth one, from which on it is said


class Rows(NamedTuple):
    """What a command works on.

    Attributes:
        table: the rows with all their columns, none missing an entry that is needed.
        value: the column of the numbers.
        by: the column of the groups; None for one group.
        notes: what the user should know of the rows.
    """

    table: pd.DataFrame
    value: str
    by: str | None
    notes: tuple[str, ...]


def add_rows(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what is read, and where results go."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="CSV, TSV or Parquet, with a header"
    )
    parser.add_argument("--value", required=True, metavar="COL", help="the column of the numbers")
    parser.add_argument("--by", metavar="COL", help="one answer for each entry, e.g. of the time")
    parser.add_argument(
        "--where", metavar="EXPR", help='only rows for which this holds, e.g. "dose > 0"'
    )
    parser.add_argument(
        "--drop-missing", action="store_true", help="leave out rows with missing entries"
    )
    parser.add_argument("--out", type=Path, default=Path("."), metavar="DIR", help="default: here")
    parser.add_argument("--format", choices=FORMATS, default="png", help="of the figure")
    parser.add_argument("--quiet", action="store_true", help="no bar")


def read_rows(options: argparse.Namespace) -> Rows:
    """The rows that the options of :func:`add_rows` mean.

    Raises:
        ValueError: for a file that cannot be read, columns that are not there or hold no numbers,
            a condition that fails or leaves no rows, and missing entries that are not to be left
            out.
    """
    table = read_table(options.file)
    value, by = options.value, options.by
    columns = [name for name in (value, by) if name is not None]
    check_columns(table, columns)
    notes: list[str] = []
    if options.where is not None:
        whole, table = len(table), _chosen(table, options.where)
        notes.append(f"{len(table):,} of {whole:,} rows have {options.where}")
    table = table.assign(**{value: _numbers(options.file, table[value])})
    there = table[columns].notna().all(axis=1)
    missing = int((~there).sum())
    if missing and not options.drop_missing:
        raise ValueError(
            f"{missing:,} of {len(table):,} rows have no entry in {' or '.join(columns)}; give "
            "--drop-missing to leave them out"
        )
    if missing:
        notes.append(f"{missing:,} of {len(table):,} rows without an entry were left out")
    table = table[there]
    if by is not None:
        sizes = table.groupby(by).size()
        few = sizes[sizes < FEWEST].index
        if len(few):
            names = ", ".join(map(str, few))
            notes.append(f"{by} {names}: left out, with fewer than {FEWEST} rows")
            table = table[~table[by].isin(few)]
    if len(table) < FEWEST:
        raise ValueError(f"{len(table)} rows are left, but at least {FEWEST} are needed")
    notes += alike(table, value, by)
    return Rows(table.reset_index(drop=True), value, by, tuple(notes))


def read_table(path: Path) -> pd.DataFrame:
    """A table from a file by its ending: text in columns, or Parquet."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    ending = path.suffix.lower()
    try:
        if ending in (".parquet", ".pq"):
            return pd.read_parquet(path)
        if ending not in ENDINGS:
            raise ValueError("its name must end in " + ", ".join([*ENDINGS, ".parquet"]))
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max(SEPARATORS, key=header.count)
        how: dict[str, Any] = {"encoding": "utf-8-sig", "skipinitialspace": True, "sep": separator}
        table = pd.read_csv(path, **how)
        # pandas numbers names that repeat, so that the first of them would be taken for the one.
        names = pd.read_csv(path, header=None, nrows=1, dtype=str, **how).iloc[0]
        both = zip(names, table.columns, strict=True)
        return table.set_axis([old if pd.isna(name) else name for name, old in both], axis=1)
    except ImportError as error:
        raise ValueError(
            f"{path}: pandas reads Parquet with pyarrow: pip install pyarrow"
        ) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def alike(table: pd.DataFrame, value: str, by: str | None) -> list[str]:
    """What to know of rows that were measured on the same thing, such as a cell.

    Of m rows each on some things, n rows are worth n / (1 + (m - 1) ICC), where the intraclass
    correlation ICC is the share of the variance between things (Kish 1965).
    """
    notes = []
    for name in table.columns:
        unit = str(name)
        if name in (value, by) or not UNITS.search(unit.lower()):
            continue
        number = table[name].nunique()
        if not 1 < number < len(table):
            continue
        if by is not None and not table.duplicated([name, by]).any():
            notes.append(
                f"the {len(table):,} rows are of {number:,} entries of {unit!r}, each at several "
                f"{by}: the answers for different {by} are not independent of each other"
            )
            continue
        worth = _worth_of_one(table, value, name, by)
        if worth > ALIKE:
            notes.append(
                f"rows with the same {unit!r} are alike: the {len(table):,} rows are worth about "
                f"{len(table) / worth:,.0f} independent ones, so what is said here is too sure; "
                f"take one row per {unit!r}, or their means"
            )
    return notes


def _worth_of_one(table: pd.DataFrame, value: str, unit: Any, by: str | None) -> float:
    """How many rows are worth one: 1 + (m - 1) ICC, with ICC by the analysis of variance."""
    centred = table[value] - (
        table.groupby(by)[value].transform("mean") if by else table[value].mean()
    )
    groups = centred.groupby(table[unit])
    sizes, means = groups.size().to_numpy(float), groups.mean().to_numpy()
    n, k = sizes.sum(), len(sizes)
    if n <= k:
        return 1.0
    between = float((sizes * (means - centred.mean()) ** 2).sum()) / (k - 1)
    within = float(((centred - groups.transform("mean")) ** 2).sum()) / (n - k)
    typical = (n - (sizes**2).sum() / n) / (k - 1)
    spread = between + (typical - 1) * within
    share = (between - within) / spread if spread > 0 else 0.0
    return 1 + max(0.0, share) * float((sizes**2).sum() / n - 1)


def _chosen(table: pd.DataFrame, where: str) -> pd.DataFrame:
    try:
        chosen = table.query(where, engine="python")
    except Exception as error:
        columns: Sequence[str] = [str(c) for c in table.columns]
        raise ValueError(
            f'--where {where!r} cannot be understood ({error}); write it as in "dose > 0 and '
            f"line == 'WT'\", with columns {', '.join(columns)}"
        ) from error
    if not isinstance(chosen, pd.DataFrame):
        raise ValueError(f'--where {where!r} is no condition; write it as in "dose > 0"')
    return chosen


def _numbers(path: Path, column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = numbers.isna() & column.notna()
    if bool(wrong.any()):
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        raise ValueError(
            f"{path}: column {str(column.name)!r} must hold numbers, but line "
            f"{column.index[row] + 2} holds {column.iloc[row]!r}"
        )
    if bool(np.isinf(numbers).any()):
        raise ValueError(f"{path}: column {str(column.name)!r} holds infinite numbers")
    return numbers
