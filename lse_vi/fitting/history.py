"""The history of a fit: lists of equal length, one entry for each evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

History = dict[str, list[Any]]  # by quantity; "step" is among them


def note(history: History, **entries: Any) -> None:
    """Add the entries of one evaluation, in place.

    Example:
        >>> history = {}
        >>> note(history, step=50, loss=0.3)
        >>> note(history, step=100, loss=0.2)
        >>> history
        {'step': [50, 100], 'loss': [0.3, 0.2]}
    """
    for name, entry in entries.items():
        history.setdefault(name, []).append(entry)


def join(histories: Sequence[History]) -> History:
    """One history of fits that followed one another, with their steps counted through.

    Example:
        >>> join([{"step": [50, 100], "loss": [3, 2]}, {"step": [50], "loss": [1]}])
        {'step': [50, 100, 150], 'loss': [3, 2, 1]}
    """
    joined = {key: [entry for h in histories for entry in h[key]] for key in histories[0]}
    lasts = [h["step"][-1] for h in histories]
    starts = [sum(lasts[:i]) for i in range(len(histories))]
    joined["step"] = [
        start + step for start, h in zip(starts, histories, strict=True) for step in h["step"]
    ]
    return joined
