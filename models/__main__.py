"""``python -m models NAME [options]``: run a study."""

import sys
from importlib import import_module

STUDIES = ("schlogl", "wells", "mechanochemistry", "waddington", "elasticity", "modes")


def main() -> None:
    """Hand the arguments to the study's own parser."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in STUDIES:
        sys.exit(f"usage: python -m models NAME [options], with NAME one of: {', '.join(STUDIES)}")
    import_module(f"models.{name}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
