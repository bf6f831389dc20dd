"""Minima, maxima and saddles of a landscape."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.checks import check_positive
from lse_vi.landscapes.landscape import Landscape, OwnUnits, check_sample
from lse_vi.network.circle import apart, wrapped
from lse_vi.numerics.minima import LONGEST_STEP, Frame, distinct
from lse_vi.numerics.newton import descend
from lse_vi.signatures.checked import checked

# Largest |grad E| of a stationary point, in units of the largest |grad E| at the starts.
STEEP = 1e-6
# Longest Newton step that may be left at a stationary point, in spreads of the starts: a tenth of
# the default separation, so that the error does not split one point into two.
ERROR = 1e-4


class StationaryPoints(NamedTuple):
    """Points where grad E vanishes, lowest first.

    Attributes:
        points: (m, dim).
        energies: (m,).
        curvatures: eigenvalues of the Hessian in increasing order, (m, dim).
        kinds: "minimum", "maximum" or "saddle" by their signs, m of them.
    """

    points: Tensor
    energies: Tensor
    curvatures: Tensor
    kinds: tuple[str, ...]


@checked
@torch.no_grad()
def stationary_points(
    landscape: Landscape, starts: Tensor, *, separation: float = 1e-3
) -> StationaryPoints:
    """Minima, maxima and saddles of E that are reached from ``starts``.

    Use it for the barriers between wells, which are at saddles; for minima alone
    there is :meth:`LSEICNN.minima`. A damped Gauss-Newton method descends |grad E|^2/2 from every
    start. It finds a point of any kind if a start is near enough, so give many starts, such as a
    grid over the region of interest. Where E is periodic, points at the seam are found once, and
    all are given in the period that begins at the lowest start.

    Args:
        landscape: the potential E.
        starts: (n, dim); points outside their bounding box are left out, but in a periodic
            coordinate none is outside.
        separation: points closer than this share of the starts' spread count as one.

    Raises:
        TypeError: for starts that are no floating tensor.
        ValueError: for starts that are not finite or of another dimension, fewer than two different
            starts, or a separation that is not positive.

    Example:
        >>> from lse_vi import LSEICNN, WhitenedICNN
        >>> pot = LSEICNN(2, 2, hidden=(), rho=1.0, network=WhitenedICNN)
        >>> pot.network.reset_parameters(torch.tensor([[-2.0, 0.0], [2.0, 0.0]]))
        >>> grid = torch.cartesian_prod(torch.linspace(-3, 3, 9), torch.linspace(-1, 1, 5))
        >>> stationary_points(pot, grid).kinds
        ('minimum', 'minimum', 'saddle')
    """
    check_sample("starts", starts, landscape.dim)
    check_positive("separation", separation)
    own = OwnUnits.of(landscape, starts)
    inner, u0 = own.inner, own.place(starts)
    frame = Frame.around(u0, inner(u0))

    def gradient(v: Tensor) -> Tensor:
        return frame.gradient(inner.gradient(frame.point(v)))

    def hessian(v: Tensor) -> Tensor:
        return frame.hessian(inner.hessian(frame.point(v)))

    def squared(v: Tensor) -> Tensor:
        return hessian(v) @ hessian(v)

    v0 = frame.place(u0)
    v = descend(
        lambda v: 0.5 * gradient(v).square().sum(-1),
        lambda v: (hessian(v) @ gradient(v).unsqueeze(-1)).squeeze(-1),
        squared,
        v0,
        max_length=LONGEST_STEP,
    ).x
    g, h = gradient(v), hessian(v)
    left = (torch.linalg.pinv(h, hermitian=True) @ g.unsqueeze(-1)).squeeze(-1)
    # Where |grad E| has a minimum above zero, the Hessian is singular and the Newton step is long.
    steep = g.norm(dim=-1) > STEEP * gradient(v0).norm(dim=-1).max()
    inside = (((v >= v0.amin(0)) & (v <= v0.amax(0))) | own.turn.isfinite()).all(-1)
    v = v[inside & ~steep & (left.norm(dim=-1) < ERROR)]
    u = frame.point(v)
    around = partial(apart, period=own.turn / frame.spread)
    kept = distinct(v, inner(u), separation, around)
    u = wrapped(u[kept], own.turn, u0.amin(0))
    h = inner.hessian(u)
    kinds = tuple(map(_kind, torch.linalg.eigvalsh(h).tolist()))
    return StationaryPoints(own.point(u), own.energy(inner(u)), own.curvatures(h), kinds)


def _kind(curvatures: list[float]) -> str:
    """The kind of a point, from its curvatures in increasing order."""
    if curvatures[0] > 0:
        return "minimum"
    return "maximum" if curvatures[-1] < 0 else "saddle"
