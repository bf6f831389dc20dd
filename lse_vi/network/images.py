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

from lse_vi.network.circle import wrapped
from lse_vi.network.convex_stack import ConvexStack, Layout
from lse_vi.network.icnn import WhitenedICNN, whitened

if TYPE_CHECKING:
    from lse_vi.network.potential import LSEICNN

# Nats by which the first image left out lies below one that is kept, besides the roundings: 2e-16.
BELOW = 36.0
MOST = 4096  # images of a point: with more, a mode is far wider than the period
# Periods from which on a fit makes no mode wider: a Gaussian of this width is uniform on the circle
# to 5e-9 already, 2 exp(-2 pi^2), and a wider one only costs images.
WIDEST = 1.0
FLATTEST = -200.0  # least log of a diagonal entry of L, whose inverse still is a number
# Shares of the way from a frame's origin down its slope at which the minimum of a mode is bounded:
# a steep wall at the origin is soon behind.
TRIES = (0.0, 1e-3, 4e-3, 0.016, 0.06, 0.25, 0.5, 1.0)


class TooManyImagesError(ValueError):
    """A mode of a periodic potential is so wide that too many images of a point matter."""


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
        TooManyImagesError: for modes so wide that more than 4,096 images matter.
    """
    finite = period.isfinite()
    turn = torch.where(finite, period, 1.0).unsqueeze(-2)
    (factor, width), loc = _frames(network), network.loc.detach()
    center, radius = _minimum(network)
    center = torch.linalg.solve_triangular(factor, center.unsqueeze(-1), upper=False).squeeze(-1)
    center, off = loc + center, width * radius
    reach = width * (2 * BELOW / log_rho.detach().exp()[..., None, None]).sqrt()
    more = (reach / turn).ceil().clamp_min(1.0)
    low = (((center - off) / turn).floor() - more).nan_to_num()  # NaN is for E itself to have
    high = ((center + off) / turn + more).floor().nan_to_num()
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
        raise TooManyImagesError(
            f"period: the widest mode is {widest:.3g} periods wide, so that "
            f"{number:,} images of a point matter, and at most {MOST:,} are summed. A mode of 1 "
            "period is uniform on the circle: make the modes narrower (precision in "
            "network.reset_parameters), or give no period in a coordinate that is uniform"
        )
    ticks = [torch.arange(a, b + 1) for a, b in ends]
    return torch.cartesian_prod(*ticks).reshape(-1, loc.shape[-1]).to(loc)


def _frames(network: WhitenedICNN) -> tuple[Tensor, Tensor]:
    """L of each mode, (*batch, modes, dim, dim), and its width along each axis."""
    diagonal = network.log_diagonal.clamp_min(FLATTEST).exp()
    factor = network.off_diagonal.tril(-1) + torch.diag_embed(diagonal)
    return factor, torch.linalg.inv(factor).norm(dim=-1)


def _minimum(network: WhitenedICNN) -> tuple[Tensor, Tensor]:
    """Centre (*batch, modes, dim) and radius (*batch, modes, 1) of a ball around each minimiser.

    In the frames. By strong convexity, (v - u*).grad f(v) >= |v - u*|^2 for every v, so that u* is
    within |grad f(v)|/2 of v - grad f(v)/2.
    """
    stack, loc = network.frame_stack().unstack(), network.loc.detach()

    def slope(v: Tensor) -> Tensor:
        at, layout = stack.place(v)
        value, kept = at.forward(layout.x)
        return layout.restore(at.pullback(torch.ones_like(value), kept)).reshape(v.shape)

    first = slope(torch.zeros_like(loc).unsqueeze(0))
    v = -first * loc.new_tensor(TRIES).reshape(-1, *(1,) * loc.dim())
    slopes = slope(v)
    size, best = slopes.norm(dim=-1, keepdim=True).min(0, keepdim=True)
    center = (v - slopes / 2).take_along_dim(best, 0)
    return center.squeeze(0), size.squeeze(0) / 2


def held(pot: LSEICNN) -> dict[str, Tensor]:
    """The parameters that hold each mode of a periodic potential to ``WIDEST`` periods, by name.

    Wider modes are squeezed along the axis; empty if there are none. Gradients flow. A fit that
    meets such modes goes on with the uniform law that they tend to. The width is that of
    exp(-rho f), for f a Gaussian.

    Example:
        >>> from lse_vi import LSEICNN, WhitenedICNN
        >>> pot = LSEICNN(1, 2, rho=1.0, network=WhitenedICNN, period=0.5)
        >>> held(pot)["network.log_diagonal"].exp()
        tensor([[2.],
                [2.]], grad_fn=<ExpBackward0>)
    """
    turn = pot.units.turn
    if turn is None:
        return {}
    network = whitened(pot.network)
    width = _frames(network)[1] / (0.5 * pot.log_rho).exp()[..., None, None]
    excess = width / (WIDEST * turn.to(width).unsqueeze(-2))  # 0 where not periodic
    if not bool((excess > 1).any()):
        return {}
    excess = excess.clamp_min(1.0)
    return {
        "network.log_diagonal": network.log_diagonal.clamp_min(FLATTEST) + excess.log(),
        "network.off_diagonal": network.off_diagonal * excess.unsqueeze(-2),
    }


@torch.no_grad()
def hold_(pot: LSEICNN) -> None:
    """As :func:`held`, in place."""
    for name, value in held(pot).items():
        pot.get_parameter(name).copy_(value)


def turned_back(pot: LSEICNN) -> dict[str, Tensor]:
    """The places of modes within half a period of 0, by name, which change nothing.

    A fit without a prior may send a mode around many times, and other modes would get its images.
    """
    turn = pot.units.turn
    if turn is None:
        return {}
    loc = whitened(pot.network).loc
    period = turn.to(loc).unsqueeze(-2)
    return {"network.loc": wrapped(loc, period, torch.where(period.isfinite(), -period / 2, 0.0))}


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
