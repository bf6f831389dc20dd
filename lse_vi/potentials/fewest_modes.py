"""How many modes a potential needs: the fewest that fit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lse_vi.checks import check_positive
from lse_vi.fitting.mode_search import ModeSearch


@dataclass(frozen=True)
class FewestModes:
    r"""Keep the smallest number of modes that fits.

    K = 1, 2, ... modes are fitted in turn, then once more those one below the best, from the best
    with each of its modes left out. Kept is the K with the smallest

    .. math:: \log\max(\mathrm{error}_K, \mathrm{tolerance}) + K \log \mathrm{gain}

    so a mode must lower the error by the factor ``gain``, and errors below ``tolerance`` are as
    good as none. The search ends at the tolerance, or when two more modes have not paid.

    Modes count wells only while they are told apart: with a small rho, two modes alone can make
    any shape, as a difference of large convex functions. So rho stays above ``sharpness`` during
    the search, and is free afterwards.

    Args:
        tolerance: error that is good enough, as a share of the spread of the targets; in their
            units where a fit does not standardise.
        gain: more than 1.
        sharpness: least rho, per standard deviation of E; per unit where a fit does not
            standardise.

    Raises:
        ValueError: for a tolerance or sharpness that is not positive, or a gain of one or less.

    Example:
        >>> from lse_vi import LSEICNN, fit_potential
        >>> x, pot = torch.linspace(-2, 2, 50), LSEICNN(1, 4, hidden=(5,))
        >>> few = {"discovery": FewestModes(tolerance=0.1), "restarts": 2, "progress": False}
        >>> int(fit_potential(pot, x, value=x**2, **few).active_modes)  # a second gains nothing
        1
    """

    tolerance: float = 0.011
    gain: float = 1.2
    sharpness: float = 0.5

    def __post_init__(self) -> None:
        check_positive("tolerance", self.tolerance)
        check_positive("sharpness", self.sharpness)
        if not check_positive("gain", self.gain) > 1:
            raise ValueError(f"gain must be more than 1, but got {self.gain}")


def enough(search: ModeSearch, discovery: FewestModes) -> bool:
    """Has every member of the batch met the tolerance, or not gained by two more modes?"""
    if not search.done:
        return False
    met = torch.stack([c.objective for c in search.done]).amax(0) >= -math.log(discovery.tolerance)
    return bool((met | (search.best() < len(search.done) - 2)).all())
