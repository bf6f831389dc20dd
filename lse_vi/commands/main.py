"""``lse-vi``: reads the command line, and says faults of files in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lse_vi.commands.density import add as add_density
from lse_vi.commands.hysteresis import add as add_hysteresis
from lse_vi.commands.modes import add as add_modes
from lse_vi.commands.version import add as add_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, or 2 if an argument or a file is wrong.

    Args:
        arguments: of the command line, without the name of the program; its own by default.
    """
    parser = argparse.ArgumentParser(
        prog="lse-vi",
        description="Potentials with several wells, distributions with several modes.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (add_modes, add_density, add_hysteresis, add_version):
        add(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, TypeError, OSError) as error:
        print(f"lse-vi {options.command}: {error}", file=sys.stderr)
        return 2
    return 0
