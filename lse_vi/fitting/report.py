"""Reports: numbers with as many digits as show their differences, and what notebooks show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

import torch
from torch import Tensor

DIGITS = 4  # significant, of a number that is not much larger than the spread
FAR = 1e4  # spreads of the data beyond which an offset would hide what differs

WIDTH, HEIGHT = 260, 70  # of a picture, in pixels
LINE, WARNING = "#0072B2", "#D55E00"  # told apart by colour-blind readers (Okabe & Ito 2008)


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


def counted(count: int, one: str, several: str = "") -> str:
    """How many, in words: ``several`` is ``one`` with an s by default.

    Example:
        >>> counted(1, "mode"), counted(2, "mode"), counted(0, "minimum", "minima")
        ('1 mode', '2 modes', '0 minima')
    """
    return f"{count} {one if count == 1 else several or one + 's'}"


def page(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    picture: str = "",
    warnings: Iterable[str] = (),
) -> str:
    """A title, a picture, a table and warnings as HTML; all text is escaped.

    Example:
        >>> page("a < b", ["mode"], [["0"]])[:27]
        '<div><strong>a &lt; b</stro'
    """
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    doubts = "".join(
        f'<div style="color:{WARNING}">&#9888; {escape(text)}</div>' for text in warnings
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div><strong>{escape(title)}</strong><br>{picture}{table}{doubts}</div>"


def curve(x: Tensor, y: Tensor) -> str:
    """A curve y(x) >= 0, (n,) each, as a picture.

    Example:
        >>> curve(torch.arange(3.0), torch.ones(3))[:4]
        '<svg'
    """
    across = (x - x[0]) / (x[-1] - x[0]) * WIDTH
    down = HEIGHT * (1 - 0.95 * y / y.amax())
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in torch.stack([across, down], 1).tolist())
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT + 1}" role="img">'
        f'<polyline points="0,{HEIGHT} {points} {WIDTH},{HEIGHT}" fill="{LINE}" fill-opacity="0.2" '
        f'stroke="{LINE}" stroke-width="1.5"/></svg><br>'
    )
