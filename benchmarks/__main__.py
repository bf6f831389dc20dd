"""``python -m benchmarks NAME [options]``: measure side by side, print a table and a JSON line."""

import sys
from importlib import import_module

BENCHMARKS = (
    "calibration",
    "check",
    "density",
    "evidence",
    "guide",
    "guide_cost",
    "hysteresis",
    "outcomes",
    "posteriordb",
    "scaling",
    "ssa",
    "steadiness",
    "throughput",
    "wells",
)


def main() -> None:
    """Hand the arguments to the benchmark's own parser."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in BENCHMARKS:
        sys.exit(
            "usage: python -m benchmarks NAME [options], with NAME one of: " + ", ".join(BENCHMARKS)
        )
    import_module(f"benchmarks.{name}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
