"""The rise of a one-cycle schedule."""

from __future__ import annotations


def warm_up(share: float, steps: int) -> float:
    """``share`` as the ``pct_start`` of torch's ``OneCycleLR``, which divides by zero at one step.

    A rise of one step is none: the first step is at the peak.

    Example:
        >>> warm_up(0.1, 100), warm_up(0.1, 10) < 0.1
        (0.1, True)
    """
    return share if share * steps != 1 else (1 - 1e-9) * share
