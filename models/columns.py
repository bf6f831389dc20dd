"""Numbers from one or two columns of a CSV file, or an error that says which row to look at.

For data from outside: the study ``modes`` reads a user's file by it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_gen.arrays import FloatArray

MOST = 2  # columns that are read
FEWEST = 10  # rows: with fewer there is nothing to ask about modes


def read_columns(path: str | Path, columns: Sequence[str] = ()) -> tuple[FloatArray, list[str]]:
    """The named columns of a CSV file with a header, (rows, columns), and their names.

    Without names, all its columns, if they are one or two.

    Raises:
        ValueError: for a file without rows, an unknown column, a missing value, text, a constant
            column, or fewer than ten rows; it names the column and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"--data: there is no file {path}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            read = enumerate(csv.reader(file), 1)
            rows = [(i, row) for i, row in read if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from error
    if not rows:
        raise ValueError(f"{path} is empty")
    header = [name.strip() for name in rows[0][1]]
    if all(_number(name) is not None for name in header):
        raise ValueError(
            f"{path}: the first line must name the columns, but holds numbers: {', '.join(header)}"
        )
    chosen = _choose(path, header, columns)
    data = np.array(
        [[_value(path, line, row, header, name) for name in chosen] for line, row in rows[1:]]
    ).reshape(-1, len(chosen))
    if len(data) < FEWEST:
        raise ValueError(f"{path} has {len(data)} rows of data, but {FEWEST} are needed")
    for name, values in zip(chosen, data.T, strict=True):
        if values.min() == values.max():
            raise ValueError(
                f"{path}, column {name!r}: all values are {values[0]:g}; a density needs spread"
            )
    return data, chosen


def _choose(path: Path, header: list[str], columns: Sequence[str]) -> list[str]:
    unknown = [name for name in columns if name not in header]
    if unknown:
        raise ValueError(f"{path} has no column {unknown[0]!r}, but {', '.join(header)}")
    chosen = list(columns) or header
    twice = [name for name in chosen if header.count(name) > 1]
    if twice:
        raise ValueError(
            f"{path} has {header.count(twice[0])} columns named {twice[0]!r}; rename one"
        )
    if len(chosen) > MOST:
        raise ValueError(
            f"{path}: one or two columns are needed, so name them by --column; "
            f"there are {', '.join(header)}"
        )
    return chosen


def _value(path: Path, line: int, row: list[str], header: list[str], name: str) -> float:
    where = f"{path}, line {line}, column {name!r}"
    place = header.index(name)
    text = row[place].strip() if place < len(row) else ""
    if text.lower() in ("", "na", "n/a", "nan", "null", "none"):
        raise ValueError(f"{where}: a value is missing; drop the row or fill it in")
    number = _number(text)
    if number is None or math.isinf(number):
        raise ValueError(f"{where}: expected a finite number, but got {text!r}")
    return number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
