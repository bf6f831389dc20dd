"""The peaks of densities, reached from the peak of every mode: modes can share one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.bayesian.coordinates import ModeCoordinates
from lse_vi.network.icnn import whitened
from lse_vi.numerics.newton import descend

SAME_PLACE = 0.02  # standard deviations of the data: peaks closer than this are one
LEAST_MASS = 0.01  # share of the mass that a peak must hold to count, as in LSEICNN.active_modes


class DensityPeaks(NamedTuple):
    """Peaks of each density of a batch; a density has at most as many as modes.

    Attributes:
        number: of peaks of each density, (*batch,).
        location: (*batch, modes, dim), NaN where there is none.
        mass: of the modes that lead to each peak, (*batch, modes), 0 where there is none.
    """

    number: Tensor
    location: Tensor
    mass: Tensor


@torch.no_grad()
def density_peaks(coordinates: ModeCoordinates, theta: Tensor) -> DensityPeaks:
    """Climb from the peak of every mode of the densities ``theta`` (batch, size) to one of theirs.

    The mass of a peak is that of the modes from which it is reached. Peaks of less than 1 % of the
    mass do not count: a few points far out are no mode.
    """
    pot = coordinates.potential(theta)
    mass = coordinates.masses(theta)
    smallest = (-coordinates.split(theta)["log_scale"]).exp() * coordinates.scale
    starts = whitened(pot.network).loc.movedim(-2, 0)  # (modes, batch, dim)
    ends = descend(
        pot, pot.gradient, pot.hessian, starts,
        max_length=0.5 * smallest.flatten(-2).amin(-1, keepdim=True),
    ).x.movedim(0, -2)  # fmt: skip
    unit = ends / coordinates.scale
    apart = (unit.unsqueeze(-2) - unit.unsqueeze(-3)).norm(dim=-1)
    same = apart < SAME_PLACE  # (batch, modes, modes)
    first = same.int().argmax(-1) == torch.arange(pot.modes)
    held = torch.where(first, (same * mass.unsqueeze(-2)).sum(-1), 0.0)
    seen = held >= LEAST_MASS
    return DensityPeaks(
        number=seen.sum(-1),
        location=ends.masked_fill(~seen.unsqueeze(-1), torch.nan),
        mass=torch.where(seen, held, 0.0),
    )
