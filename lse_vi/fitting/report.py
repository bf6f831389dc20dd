"""Numbers in reports, with as many digits as show the differences between them."""

from __future__ import annotations

import math
from collections.abc import Iterable

DIGITS = 4  # significant, of a number that is not much larger than the spread
FAR = 1e4  # spreads of the data beyond which an offset would hide what differs


def number(value: float, spread: float) -> str:
    """``value`` with four digits, or as an offset plus a rest where ``spread`` is far smaller.

    Example:
        >>> number(2.34567, 1.0), number(1.7e9 + 30, 20.0), number(-4e4 - 0.123456, 0.5)
        ('2.346', '1.7e+09 + 30', '-4e+04 - 0.1235')
    """
    if not (math.isfinite(value) and 0 < spread < math.inf) or abs(value) <= FAR * spread:
        return f"{value:.{DIGITS}g}"
    unit = 10.0 ** math.ceil(math.log10(spread) + 1)  # at least ten spreads
    offset = round(value / unit) * unit
    short = f"{offset:.{DIGITS}g}"
    shown = short if float(short) == offset else f"{offset:.17g}"
    rest = value - offset
    return f"{shown} {'-' if rest < 0 else '+'} {abs(rest):.{DIGITS}g}"


def place(values: Iterable[float], spreads: Iterable[float]) -> str:
    """A point, its coordinates separated by commas."""
    return ", ".join(number(v, s) for v, s in zip(values, spreads, strict=True))
