"""The choice of the number of modes of a potential: the fewest that fit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lse_vi.checks import check_positive
from lse_vi.fitting.mode_search import ModeSearch
from lse_vi.signatures.checked import checked

IDLE_MODES = 2  # numbers of modes without gain that end a search: two may gain only together


@checked
@dataclass(frozen=True)
class FewestModes:
    r"""Keep the smallest number of modes that fits.

    Use it when the number of modes is an answer, not an assumption. K = 1, 2, ... modes are fitted
    in turn. Then K - 1 modes are fitted once more, where K is the best number so far, from starts
    that each leave out one of the K modes. The search keeps the K with the smallest

    .. math:: \log\max(\mathrm{error}_K, \mathrm{tolerance}) + K \log \mathrm{gain}

    so each mode must lower the error by the factor ``gain``, and an error below ``tolerance``
    counts as zero. The search ends when the error reaches the tolerance, or when two more modes
    have not lowered this score.

    Modes count wells only while they are distinct: with a small rho, two modes alone can make any
    shape, as a difference of large convex functions. So rho stays above ``sharpness`` during the
    search; the polish afterwards may lower it.

    Args:
        tolerance: error that is good enough, as a share of the spread of the targets; in their
            units if the fit does not standardise.
        gain: factor by which a mode must lower the error, more than 1.
        sharpness: least rho, per standard deviation of E; per unit of E if the fit does not
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
    """Whether every member of the batch meets the tolerance, or did not gain by two more modes."""
    if not search.done:
        return False
    met = torch.stack([c.objective for c in search.done]).amax(0) >= -math.log(discovery.tolerance)
    return bool((met | (search.best() < len(search.done) - IDLE_MODES)).all())
