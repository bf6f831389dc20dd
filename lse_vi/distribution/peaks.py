"""The peaks of a density, reached from every mode: modes can share one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.distribution.box import Box
from lse_vi.network.circle import apart
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.newton import descend

# Ends of ascents closer than this are one peak, in standard deviations of the data: far above the
# error of Newton's method, and below the distance at which two peaks can be told apart.
SAME_PLACE = 0.02
LEAST_MASS = 0.01  # share of the mass that a peak must hold to count, as in LSEICNN.active_modes
CLIMB_STEP = 0.5  # longest Newton step, in widths of the narrowest mode: it must not skip a peak


class DensityPeaks(NamedTuple):
    """Peaks of each density of a batch, as in ``DensityPosterior.peaks``.

    A density has at most as many peaks as modes; the entries beyond its peaks are empty.

    Attributes:
        number: of peaks of each density, (*batch,).
        location: (*batch, modes, dim), NaN in empty entries.
        mass: total of the modes that lead to each peak, (*batch, modes), 0 in empty entries.

    Example:
        >>> peaks = DensityPeaks(torch.tensor(1), torch.zeros(2, 1), torch.tensor([1.0, 0.0]))
        >>> int(peaks.number)
        1
    """

    number: Tensor
    location: Tensor
    mass: Tensor


@torch.no_grad()
def climb_to_peaks(
    pot: LSEICNN, starts: Tensor, widths: Tensor, mass: Tensor, box: Box | None = None
) -> DensityPeaks:
    """The peaks of exp(-E) that are reached from the modes.

    The mass of a peak is the total mass of the modes whose ascents end there. Peaks with less than
    1 % of the mass do not count: a few outliers are not a mode. In a box, a density that rises
    towards a side has a peak on it.

    Args:
        pot: E in standardised units.
        starts: a point of each mode, (*batch, modes, dim).
        widths: of the modes, (*batch, modes, dim).
        mass: of the modes, (*batch, modes).
        box: the support; None for R^d.
    """
    if box is not None:
        starts = starts.clamp(box.low, box.high)
    longest = CLIMB_STEP * widths.flatten(-2).amin(-1, keepdim=True)
    found = descend(
        pot, pot.gradient, pot.hessian, starts.movedim(-2, 0), max_length=longest, within=box
    )
    ends = found.x.movedim(0, -2)
    gaps = ends.unsqueeze(-2) - ends.unsqueeze(-3)
    if pot.units.turn is not None:
        gaps = apart(torch.zeros_like(gaps), gaps, pot.units.period[..., None, None, :].to(gaps))
    same = gaps.norm(dim=-1) < SAME_PLACE  # (*batch, modes, modes)
    first = same.int().argmax(-1) == torch.arange(pot.modes, device=ends.device)
    held = torch.where(first, (same * mass.unsqueeze(-2)).sum(-1), 0.0)
    seen = held >= LEAST_MASS
    return DensityPeaks(
        number=seen.sum(-1),
        location=ends.masked_fill(~seen.unsqueeze(-1), torch.nan),
        mass=torch.where(seen, held, 0.0),
    )
