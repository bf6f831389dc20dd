"""``lse-vi modes FILE``: how many modes a column has, and how sure that is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from lse_vi.bayesian.mode_count import count_modes
from lse_vi.commands.counting import Group, count_groups, look, ticks_of
from lse_vi.commands.outputs import Outputs
from lse_vi.commands.rows import Rows, add_rows, read_rows
from lse_vi.plots.bayesian import plot_mode_count, plot_posterior
from lse_vi.plots.over_time import draw_columns
from lse_vi.plots.style import COLORS, STYLE

SURE = 0.95  # probability from which on a number is said without doubt
SHOWN = 0.005  # least probability that is printed
MEANING = (
    "A mode is a peak of the distribution, such as a group of cells. The percentages say how "
    "probable each number is, given the rows."
)


def add(commands: Any) -> None:
    """Declare the command and its options to argparse's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "modes",
        help="count the modes of a column, with a probability for each number",
        description="Says how many modes (peaks, groups) the numbers of a column have, for each "
        "entry of another column if one is given, such as the time. Prints a report, and writes "
        "modes.txt, modes.csv and a figure.",
    )
    add_rows(parser)
    parser.add_argument("--modes", type=int, default=5, help="most modes, up to 6; default 5")
    parser.add_argument("--bounds", type=float, nargs=2, metavar=("LOW", "HIGH"), help="e.g. 0 inf")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> list[Group]:
    """Read the file, count, print the report and write what was found to ``options.out``."""
    rows = read_rows(options)
    out = Outputs(options.out)
    values = rows.table[rows.value].to_numpy(float)
    ticks = ticks_of(values, options.bounds)
    settings = {"modes": options.modes, "bounds": options.bounds}
    name = f"modes.{options.format}"
    with plt.rc_context(STYLE):
        if rows.by is None:
            count = count_modes(values, progress=not options.quiet, **settings)
            found = [look("", count, ticks)]
            figure, axes = plt.subplots(1, 2, figsize=(10, 4))
            plot_posterior(count, ax=axes[0]).set(xlabel=rows.value, title=_title(found[0], rows))
            plot_mode_count(count, ax=axes[1]).set_title("how sure is the number?")
        else:
            groups = {
                str(label): own.to_numpy(float)
                for label, own in rows.table.groupby(rows.by, sort=True)[rows.value]
            }
            counted = count_groups(groups, ticks, settings)
            bar = tqdm(counted, total=len(groups), desc=rows.by, disable=options.quiet)
            found = list(bar)
            figure = _over_groups(found, rows, ticks)
        out.figure(name, figure)
    text = report(found, rows)
    print(text)
    out.text("modes.txt", text)
    out.table("modes.csv", table_of(found, rows))
    print(f"\nmodes.txt, modes.csv and {name} are in {options.out}")
    return found


def report(found: Sequence[Group], rows: Rows) -> str:
    """What the terminal shows."""
    lines = [f"{sum(g.points for g in found):,} rows of {rows.value}. {MEANING}", ""]
    for group in found:
        sure = ", ".join(f"{m}: {p:.1%}" for m, p in group.probabilities.items() if p >= SHOWN)
        head = f"{rows.by} {group.label} ({group.points} rows)  " if rows.by else ""
        lines.append(f"{head}number of modes {sure}")
        lines += [
            f"    mode {i + 1} at {float(p.location):.4g} ({float(p.location_low):.4g} to "
            f"{float(p.location_high):.4g}), with {p.mass:.1%} of the rows "
            f"({p.mass_low:.1%} to {p.mass_high:.1%})"
            for i, p in enumerate(group.peaks)
        ]
    lines += [f"note: {note}" for note in rows.notes]
    return "\n".join(lines)


def table_of(found: Sequence[Group], rows: Rows) -> pd.DataFrame:
    """One row for each mode of each group, with 90 % intervals and the number's probability."""
    lines: list[dict[str, Any]] = []
    for group in found:
        number = len(group.peaks)
        for i, p in enumerate(group.peaks):
            lines.append(
                {
                    **({rows.by: group.label} if rows.by else {}),
                    "rows": group.points,
                    "modes": number,
                    "probability": group.probabilities.get(number, 0.0),
                    "mode": i + 1,
                    rows.value: float(p.location),
                    f"{rows.value}_low": float(p.location_low),
                    f"{rows.value}_high": float(p.location_high),
                    "share": p.mass,
                    "share_low": p.mass_low,
                    "share_high": p.mass_high,
                }
            )
    return pd.DataFrame(lines)


def _over_groups(found: Sequence[Group], rows: Rows, ticks: np.ndarray) -> Figure:
    """The densities side by side with their modes; below them how probable each number is."""
    figure, (ax, below) = plt.subplots(2, 1, figsize=(7.5, 6.5), sharex=True, height_ratios=(3, 1))
    labels = tuple(group.label for group in found)
    marks = [(i, float(p.location), p.mass) for i, g in enumerate(found) for p in g.peaks]
    times = draw_columns(ax, labels, ticks, np.stack([g.heights for g in found], 1), marks)
    ax.set(ylabel=rows.value, title=f"{rows.value} by {rows.by}: the modes and their shares")
    floor = np.zeros(len(found))
    width = 0.9 * (float(np.diff(times).min()) if len(times) > 1 else 1.0)
    for m in sorted({m for g in found for m in g.probabilities}):
        height = np.array([g.probabilities.get(m, 0.0) for g in found])
        if height.max() >= SHOWN:
            name = f"{m} mode{'s' * (m != 1)}"
            below.bar(times, height, width, bottom=floor, color=COLORS[m - 1], label=name)
        floor += height
    below.set(xlabel=rows.by, ylabel="probability", ylim=(0, 1))
    ax.legend().remove()  # between the panels it would be taken for that of the lower one
    named = {
        name: mark
        for axes in (ax, below)
        for mark, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named, loc="outside lower center", ncols=4)
    return figure


def _title(group: Group, rows: Rows) -> str:
    number, p = max(group.probabilities.items(), key=lambda pair: pair[1])
    surely = "" if p >= SURE else "most probably "
    return f"{rows.value}: {surely}{number} mode{'s' * (number != 1)} ({p:.0%})"
