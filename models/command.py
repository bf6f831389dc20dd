"""The command line that the studies without a posterior share, and the file of their metrics."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Metrics = dict[str, Any]  # what a study measured, as metrics.json holds it


def run_study(
    name: str,
    about: str | None,
    run: Callable[..., Metrics],
    table: Callable[[Metrics], str],
    arguments: Sequence[str] | None,
    **extra: int,
) -> None:
    """Read ``--seed`` and ``--out``, run, write ``metrics.json``, print the table.

    ``extra`` are further options of the study with their defaults: whole numbers, or False for a
    switch.
    """
    parser = argparse.ArgumentParser(prog=f"python -m models {name}", description=about)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results") / name)
    for option, default in extra.items():
        if default is False:
            parser.add_argument(f"--{option}", action="store_true")
        else:
            parser.add_argument(f"--{option}", type=int, default=default, help=f"default {default}")
    options = parser.parse_args(arguments)
    print(table(save(run(**vars(options)), options.out)))
    print(
        "\n" + ", ".join(sorted(path.name for path in options.out.iterdir())), "are in", options.out
    )


def save(metrics: Metrics, out: Path) -> Metrics:
    """Write ``metrics`` to ``out`` and hand them back."""
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    return metrics
