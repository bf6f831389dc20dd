"""Tests from the files that machines write: CSV in its dialects, errors by file and line."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lse_vi.hysteresis.records import Column, as_column, checked

SEPARATORS = ",;\t"
ENCODINGS = (
    "utf-8-sig",
    "latin-1",
)  # the second reads any bytes: a unit such as "°C" of old machines
CLOCKS = ("time", "t", "zeit", "temps")  # names of a column of times, if none is given


class Sheet(NamedTuple):
    """One test, as its file holds it.

    Attributes:
        name: of the file, without its ending.
        strain, stress: the columns.
        times: the column of times, if there is one.
        units: of strain and stress, from a row below the header; "" without one.
    """

    name: str
    strain: Column
    stress: Column
    times: Column | None
    units: tuple[str, str]

    @property
    def columns(self) -> tuple[Column, ...]:
        """As :func:`~lse_vi.fit_memory` takes a test."""
        clock = () if self.times is None else (self.times,)
        return (*clock, self.strain, self.stress)


def read_file(path: str | Path, *, strain: str, stress: str, time: str | None = None) -> Sheet:
    """Read one test from a file with a header.

    Columns are separated by commas, semicolons or tabs; with semicolons or tabs, decimals may have
    a comma. Lines before the header are skipped, and a row of units below it is read as such.

    Args:
        path: of the file.
        strain, stress: names of the columns.
        time: name of the column of times; by default a column named time, if there is one.

    Raises:
        ValueError: for a file that is not there or empty, columns that are missing or twice there,
            text or gaps where numbers must be, times that do not increase, too few rows, and a
            column that does not vary; it names the file, and the line if it is one.
    """
    path = Path(path)
    lines = _lines(path)
    separator, start, header = _header(path, lines, (strain, stress))
    wanted = {"strain": strain, "stress": stress}
    clock = time if time is not None else next((h for h in header if h.lower() in CLOCKS), None)
    if clock is not None:
        wanted["time"] = clock
    places = {role: _place(path, start, header, name) for role, name in wanted.items()}
    try:
        rows = [
            (number, row)
            for number, row in enumerate(csv.reader(lines[start:], delimiter=separator), start + 1)
            if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:  # such as a field of 200,000 characters
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    units = ("", "")
    if rows and _are_units(rows[0][1], places.values(), separator):
        units = tuple(_cell(rows[0][1], places[r]).strip("[]() ") for r in ("strain", "stress"))  # type: ignore[assignment]
        rows = rows[1:]
    if not rows:
        raise ValueError(f"{path} has a header, but no rows of numbers")
    columns = {
        role: as_column(
            f"{path}, {wanted[role]}",
            [_number(path, n, row, place, wanted[role], separator) for n, row in rows],
        )
        for role, place in places.items()
    }
    if "time" in columns:
        _check_times(path, [n for n, _ in rows], columns["time"], wanted["time"])
    checked(str(path), path.stem, columns["strain"], columns["stress"], columns.get("time"))
    return Sheet(path.stem, columns["strain"], columns["stress"], columns.get("time"), units)


def read_files(
    paths: Sequence[str | Path], *, strain: str, stress: str, time: str | None = None
) -> list[Sheet]:
    """Read one test from each file, as :func:`read_file`; files of one name are numbered."""
    if not paths:
        raise ValueError("files: give one file or more")
    found = [read_file(path, strain=strain, stress=stress, time=time) for path in paths]
    names = [f.name for f in found]
    return [
        f._replace(name=f"{f.name} ({i + 1})") if names.count(f.name) > 1 else f
        for i, f in enumerate(found)
    ]


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    raw = path.read_bytes()
    if not raw.strip():
        raise ValueError(f"{path} is empty")
    if b"\0" in raw:
        raise ValueError(f"{path} is no text; export the test as CSV")
    for encoding in ENCODINGS:
        try:
            return raw.decode(encoding).splitlines()
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 reads everything")


def _header(path: Path, lines: list[str], names: tuple[str, str]) -> tuple[str, int, list[str]]:
    """The separator, the index of the line below the header, and its names."""
    for start, line in enumerate(lines, 1):
        for separator in SEPARATORS:
            header = [cell.strip().strip('"').strip() for cell in line.split(separator)]
            if all(name in header for name in names):
                return separator, start, header
    first = next(line for line in lines if line.strip())
    separator = max(SEPARATORS, key=first.count)
    header = [cell.strip().strip('"').strip() for cell in first.split(separator)]
    missing = next((name for name in names if name not in header), names[0])
    raise ValueError(
        f"{path} has no column {missing!r}; its first line has {', '.join(header)[:300]}"
    )


def _place(path: Path, line: int, header: list[str], name: str) -> int:
    if name not in header:
        raise ValueError(f"{path}, line {line}: no column {name!r}, but {', '.join(header)[:300]}")
    if header.count(name) > 1:
        raise ValueError(
            f"{path}, line {line}: {header.count(name)} columns are named {name!r}; rename all "
            "but one"
        )
    return header.index(name)


def _cell(row: list[str], place: int) -> str:
    return row[place].strip() if place < len(row) else ""


def _parse(cell: str, separator: str) -> float | None:
    """A number, with a decimal comma where commas do not separate; None for anything else."""
    if separator != "," and "," in cell and "." not in cell:
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        return None


def _are_units(row: list[str], places: object, separator: str) -> bool:
    """Whether no column that is read has a number in ``row``, and some have text."""
    cells = [_cell(row, place) for place in places]  # type: ignore[attr-defined]
    return any(cells) and all(_parse(cell, separator) is None for cell in cells)


def _number(path: Path, line: int, row: list[str], place: int, name: str, separator: str) -> float:
    cell = _cell(row, place)
    value = _parse(cell, separator)
    if value is None or not math.isfinite(value):
        what = f"is {cell!r}" if cell else "is missing"
        raise ValueError(
            f"{path}, line {line}: {name} {what}, but must be a number; mend or delete the line"
        )
    return value


def _check_times(path: Path, lines: list[int], times: Column, name: str) -> None:
    late = np.flatnonzero(np.diff(times) <= 0)
    if len(late):
        i = int(late[0]) + 1
        kind = "repeats" if times[i] == times[i - 1] else "goes back behind"
        raise ValueError(
            f"{path}, line {lines[i]}: {name} {times[i]:g} {kind} {times[i - 1]:g}; sort the rows "
            "by time, and average or delete repeated ones"
        )
