"""Targets that contradict all others: one wrong entry must not bend a potential."""

from __future__ import annotations

import torch
from torch import Tensor

from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.weighted import median
from lse_vi.potentials.targets import Targets

# A point is an outlier if its misfit exceeds so many robust deviations of all misfits, which noise
# of any usual law does not, and besides half of the targets' spread, which no kink of E does.
DEVIATIONS, LEAST_MISFIT = 10.0, 0.5
NORMAL_MEDIAN = 0.6745  # median modulus of a standard normal
WELL_FITTED = 0.1  # median misfit, in spreads of the targets, above which a fit can judge no point
MOST_OUTLIERS = 0.05  # share of the points: more are a feature of the data


@torch.no_grad()
def without_outliers(pot: LSEICNN, given: Targets) -> Tensor:
    """The rows of ``given`` that a fit of them does not show to be outliers; all of a batch.

    Args:
        pot: fitted to ``given``, in its units.
    """
    rows = torch.arange(len(given), device=given.x.device)
    if pot.batch_shape:
        return rows
    misfit = given.misfits(pot)
    worth = torch.ones_like(misfit) if given.worth is None else given.worth.to(misfit)
    middle = median(misfit, worth)
    if not float(middle) < WELL_FITTED:
        return rows
    limit = DEVIATIONS / NORMAL_MEDIAN * middle
    good = misfit <= limit.clamp_min(LEAST_MISFIT)
    return rows[good] if float(worth[~good].sum() / worth.sum()) <= MOST_OUTLIERS else rows
