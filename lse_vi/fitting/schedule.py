"""The rise of a one-cycle learning rate."""

from __future__ import annotations

BELOW_ONE = 1 - 1e-9  # factor on a share: its change is above rounding error, yet does not matter


def warm_up(share: float, steps: int) -> float:
    """``share`` as the ``pct_start`` of torch's ``OneCycleLR``, which must not be exactly one step.

    ``OneCycleLR`` divides by the number of rising steps less one. A rise of exactly one step is
    therefore made slightly shorter; the first step is then at the peak.

    Example:
        >>> warm_up(0.1, 100), warm_up(0.1, 10) < 0.1
        (0.1, True)
    """
    return share if share * steps != 1 else BELOW_ONE * share
