r"""A box with open sides, cut where strongly convex modes have no mass to speak of.

In the frame of a mode f(u) >= f* + |u - u*|^2/2. With c any point of the box, exp(-f) is below
exp(-f(c)) exp(-R^2/2) wherever |u - u*|^2 > 2 (f(c) - f*) + R^2. So what a cut there leaves out is
less than exp(-R^2/2) of the height that the mode has in the box.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lse_vi.distribution.box import Box
from lse_vi.distribution.modes import SingleModes, log_factor, mode_minima
from lse_vi.network.icnn import whitened
from lse_vi.network.potential import LSEICNN

OUTSIDE = 1e-12  # share of a mode's height beyond the cut: its mass is rounding


@torch.no_grad()
def closed(box: Box, pot: LSEICNN) -> Box:
    """``box`` with its open sides cut; itself if it has none.

    Raises:
        ValueError: for plain modes, which need not fall off.

    Example:
        >>> from lse_vi import WhitenedICNN
        >>> box = Box.of((0, None), 1, torch.zeros(()))
        >>> closed(box, LSEICNN(1, 2, network=WhitenedICNN)).finite
        True
    """
    if box.finite:
        return box
    network, minima = whitened(pot.network), mode_minima(pot)
    at = torch.minimum(torch.maximum(minima.x, box.low), box.high)
    inside = SingleModes(pot.network.stack()).value_and_gradient(at)[0]
    rise = (inside - minima.f).clamp_min(0.0) + log_factor(pot).unsqueeze(-1)
    radius = (2 * (rise - math.log(OUTSIDE))).sqrt().unsqueeze(-1)
    width = torch.linalg.inv(network.precision_factor()).norm(dim=-1)  # along each coordinate
    low, high = minima.x - radius * width, minima.x + radius * width
    return Box(_cut(box.low, _ends(low).amin(0)), _cut(box.high, _ends(high).amax(0)))


def _ends(each: Tensor) -> Tensor:
    return each.reshape(-1, each.shape[-1])


def _cut(side: Tensor, at: Tensor) -> Tensor:
    return torch.where(side.isfinite(), side, at.to(side))
