"""``lse-vi hysteresis FILES``: the material behind tests of strain and stress."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lse_vi.commands.outputs import Outputs
from lse_vi.hysteresis.files import Sheet, read_files
from lse_vi.hysteresis.fit import fit_memory
from lse_vi.hysteresis.result import HysteresisFit
from lse_vi.plots.loops import plot_loops

FORMATS = ("png", "pdf", "svg")
DIGITS = 8  # significant, of the table: more than a machine measures


def add(commands: Any) -> None:
    """Declare the command and its options to argparse's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "hysteresis",
        help="find loops, phases and thresholds in tests of strain and stress",
        description="Each FILE is one test: a table with a header, separated by commas, "
        "semicolons or tabs. Prints a report, and writes report.txt, loops.png and model.csv.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--strain", required=True, metavar="COL", help="name of the column")
    parser.add_argument("--stress", required=True, metavar="COL", help="name of the column")
    parser.add_argument("--time", metavar="COL", help="name of the column; time if there is one")
    parser.add_argument("--modes", type=int, default=4, help="most phases; default 4")
    parser.add_argument(
        "--resample", type=int, metavar="N", help="average each branch to N points: for long files"
    )
    parser.add_argument("--out", type=Path, default=Path("."), metavar="DIR", help="default: here")
    parser.add_argument("--format", choices=FORMATS, default="png", help="of the figure")
    parser.add_argument("--quiet", action="store_true", help="no bar")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> HysteresisFit:
    """Read the files, fit, print the report and write what was found to ``options.out``."""
    sheets = read_files(
        options.files, strain=options.strain, stress=options.stress, time=options.time
    )
    out = Outputs(options.out)
    result = fit_memory(
        [sheet.columns for sheet in sheets],
        names=[sheet.name for sheet in sheets],
        modes=options.modes,
        resample=options.resample,
        progress=not options.quiet,
    )
    print(result)
    out.text("report.txt", str(result))
    out.table("model.csv", _table(result))
    strain, stress = _labels(options, sheets[0])
    figure = plot_loops(result, strain_label=strain, stress_label=stress)
    name = f"loops.{options.format}"
    out.figure(name, figure)
    print(f"\nreport.txt, model.csv and {name} are in {options.out}")
    return result


def _labels(options: argparse.Namespace, sheet: Sheet) -> tuple[str, str]:
    """The names of the columns, with their units if the file has them."""
    names = (options.strain, options.stress)
    strain, stress = (
        f"{name} ({unit})" if unit else name for name, unit in zip(names, sheet.units, strict=True)
    )
    return strain, stress


def _table(result: HysteresisFit) -> pd.DataFrame:
    """Each row of each test, with the model's stress and that of a fit without the test."""
    parts = []
    columns = (result.tests, result.fitted, result.held_out, result.left_out)
    for record, model, held_out, left_out in zip(*columns, strict=True):
        numbers = {"strain": record.strain, "stress": record.stress}
        numbers |= {"model": model, "held_out": held_out}
        shown = {name: [f"{v:.{DIGITS}g}" for v in column] for name, column in numbers.items()}
        part = {"test": record.name, **shown, "left_out": np.asarray(left_out).astype(int)}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts)
