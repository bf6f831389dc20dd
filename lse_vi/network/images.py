r"""Images of points in periodic coordinates: a mode on R^d is wrapped onto the circle by a sum.

.. math:: \sum_m e^{-\rho f_k(x + m P)}

With u* the minimiser of f_k in the frame u = L (x - loc), f_k grows along a line from there at
least as |u - u*|^2/2, so the terms fall off as those of a Gaussian of the frame's width.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lse_vi.network.convex_stack import ConvexStack, Layout
from lse_vi.network.icnn import WhitenedICNN, whitened

if TYPE_CHECKING:
    from lse_vi.network.potential import LSEICNN

# Nats by which the first image left out lies below one that is kept, besides the roundings: 2e-16.
BELOW = 36.0
MOST = 4096  # images of a point: with more, a mode is far wider than the period


@torch.no_grad()
def turns_of(network: WhitenedICNN, period: Tensor, log_rho: Tensor) -> Tensor:
    """The integers m of the images x + m P that matter for points with 0 <= x < P, (m, dim).

    In a coordinate, an image matters where it is within so many periods of a mode's minimum that
    those farther away are ``BELOW`` nats below one of them.

    Args:
        network: its modes.
        period: P in the network's units, (dim,) or (*batch, dim), infinite where not periodic.
        log_rho: (*batch,).

    Raises:
        ValueError: for modes so wide that more than 4,096 images matter.
    """
    finite = period.isfinite()
    turn = torch.where(finite, period, 1.0).unsqueeze(-2)
    factor, loc = network.precision_factor().detach(), network.loc.detach()
    width = torch.linalg.inv(factor).norm(dim=-1)  # of each mode along each axis
    stack = network.frame_stack().unstack()
    at, layout = stack.place(loc.new_zeros(1, *(1,) * (loc.dim() - 1), loc.shape[-1]))
    value, kept = at.forward(layout.x)
    slope = layout.restore(at.pullback(torch.ones_like(value), kept)).reshape(loc.shape)
    # The minimiser is at most |grad f(0)| from the frame's origin, by strong convexity.
    off = width * slope.norm(dim=-1, keepdim=True)
    reach = width * (2 * BELOW / log_rho.detach().exp()[..., None, None]).sqrt()
    more = (reach / turn).ceil().clamp_min(1.0)
    low = ((loc - off) / turn).floor() - more
    high = ((loc + off) / turn + more).floor()
    flat = (-1, loc.shape[-1])
    ends = [
        (int(a), int(b)) if good else (0, 0)
        for a, b, good in zip(
            low.reshape(flat).amin(0).tolist(),
            high.reshape(flat).amax(0).tolist(),
            finite.reshape(flat).any(0).tolist(),
            strict=True,
        )
    ]
    number = math.prod(b - a + 1 for a, b in ends)
    if number > MOST:
        widest = float(torch.where(finite.unsqueeze(-2), width / turn, 0.0).amax())
        raise ValueError(
            f"period: the widest mode is {widest:.3g} periods wide, so that "
            f"{number:,} images of a point matter, and at most {MOST:,} are summed. A mode of 1.5 "
            "periods is uniform on the circle to rounding: make the modes narrower (precision in "
            "network.reset_parameters), or give no period in a coordinate that is uniform"
        )
    ticks = [torch.arange(a, b + 1) for a, b in ends]
    return torch.cartesian_prod(*ticks).reshape(-1, loc.shape[-1]).to(loc)


def place(pot: LSEICNN, x: Tensor) -> tuple[ConvexStack, Layout, int]:
    """The stack of a potential and the images of ``x``, and the number of images of a point.

    The layout restores values of points, of which the images are the slowest axis. Where x is not
    periodic, each point is its one image.
    """
    turn = pot.units.turn
    if turn is None:
        return *pot.network.stack().place(x), 1
    turn = turn.to(x.device)
    turns = turns_of(whitened(pot.network), turn, pot.log_rho)
    stack, layout = pot.network.stack().place(images_of(x, turns, turn, len(pot.batch_shape)))
    return stack, replace(layout, sample_shape=layout.sample_shape[1:]), len(turns)


def images_of(x: Tensor, turns: Tensor, period: Tensor, batch_dims: int) -> Tensor:
    """Images x + m P of points (*sample, *batch, dim): (m, *sample, *batch, dim).

    Args:
        x: points.
        turns: the integers m, (m, dim).
        period: (dim,) or (*batch, dim), infinite where not periodic.
        batch_dims: number of the batch's dimensions.
    """
    x = x.reshape(*(1,) * (batch_dims + 1 - x.dim()), *x.shape)
    step = torch.where(period.isfinite(), period, 0.0).to(x)
    shifts = turns.reshape(len(turns), *(1,) * (x.dim() - 1), turns.shape[-1]).to(x) * step
    return x.unsqueeze(0) + shifts
