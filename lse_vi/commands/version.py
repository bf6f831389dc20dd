"""``lse-vi version``: the versions that a report of a fault needs."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import version
from typing import Any

BESIDE = ("torch", "pyro-ppl", "numpy", "pandas", "arviz", "matplotlib")


def add(commands: Any) -> None:
    """Declare the command to argparse's subparsers."""
    parser = commands.add_parser(
        "version", help="print the versions of lse-vi and of what it stands on"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print them, one a line."""
    lines = [f"lse-vi {version('lse-vi')}", f"Python {platform.python_version()}"]
    print("\n".join([*lines, *(f"{name} {version(name)}" for name in BESIDE)]))
