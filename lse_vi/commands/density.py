"""``lse-vi density FILE``: the density of a column, its modes and their shares."""

from __future__ import annotations

import argparse
from typing import Any

import pandas as pd

from lse_vi.commands.outputs import Outputs
from lse_vi.commands.rows import Rows, add_rows, read_rows
from lse_vi.densities.fit import fit_density
from lse_vi.densities.result import FitResult
from lse_vi.plots.densities import plot_density
from lse_vi.plots.over_time import plot_over_time

LEAST_SHARE = 1e-3  # of a mode in the table


def add(commands: Any) -> None:
    """Declare the command and its options to argparse's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "density",
        help="fit the density of a column: its modes and their shares",
        description="Fits a density to the numbers of a column, or one for each entry of another "
        "column, such as the time. Prints a report, and writes density.txt, density.csv (the "
        "modes) and a figure.",
    )
    add_rows(parser)
    parser.add_argument("--modes", type=int, default=5, help="most modes; default 5")
    parser.add_argument(
        "--weights", metavar="COL", help="of the rows: whole numbers are counts, as of a histogram"
    )
    parser.add_argument("--bounds", type=float, nargs=2, metavar=("LOW", "HIGH"), help="e.g. 0 inf")
    parser.add_argument("--period", type=float, metavar="P", help="of angles, e.g. 360")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> FitResult:
    """Read the file, fit, print the report and write what was found to ``options.out``."""
    rows = read_rows(options)
    out = Outputs(options.out)
    result = fit_density(
        rows.table,
        value=rows.value,
        by=rows.by,
        weights=options.weights,
        modes=options.modes,
        bounds=options.bounds,
        period=options.period,
        progress=not options.quiet,
    )
    text = "\n".join([*(f"note: {note}" for note in rows.notes), str(result)])
    print(text)
    out.text("density.txt", text)
    out.table("density.csv", modes_of(result, rows))
    name = f"density.{options.format}"
    if rows.by is None:
        # A histogram of rows says nothing where these have weights.
        ax = plot_density(result, rows.table[rows.value] if options.weights is None else None)
        ax.set_title(f"{rows.value}: {_counted(int(result.active_modes), 'mode')}")
    else:
        ax = plot_over_time(result)
        ax.set_title(f"{rows.value} by {rows.by}: a column is a density")
    out.figure(name, ax.figure)
    print(f"\ndensity.txt, density.csv and {name} are in {options.out}")
    return result


def modes_of(result: FitResult, rows: Rows) -> pd.DataFrame:
    """One row for each mode: its group, its number, its share and its mean."""
    batch = result.active_modes.dim() > 0
    lines = []
    for i, label in enumerate(result.labels or ("",)):
        one = result[i] if batch else result
        pairs = zip(one.mode_weights.tolist(), one.mode_locations[:, 0].tolist(), strict=True)
        lines += [
            {
                **({rows.by: label} if rows.by else {}),
                "mode": k,
                "share": w,
                f"mean_{rows.value}": x,
            }
            for k, (w, x) in enumerate(pairs)
            if w > LEAST_SHARE
        ]
    return pd.DataFrame(lines)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
