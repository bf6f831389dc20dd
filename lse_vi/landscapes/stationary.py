"""Minima, maxima and saddles of a landscape."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.checks import check_positive
from lse_vi.landscapes.landscape import Landscape, check_sample
from lse_vi.numerics.minima import distinct, spread_of
from lse_vi.numerics.newton import descend


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


@torch.no_grad()
def stationary_points(
    landscape: Landscape, starts: Tensor, *, separation: float = 1e-3
) -> StationaryPoints:
    """Minima, maxima and saddles of E that are reached from ``starts``.

    Damped Gauss-Newton descends |grad E|^2/2 from every start. It finds points of every kind; none
    is missed if a start is near enough, so give many: a grid over the region of interest.

    Args:
        landscape: E.
        starts: (n, dim); points outside their bounding box are left out.
        separation: points closer than this share of the starts' spread are one.

    Raises:
        ValueError: for starts that are not finite, of another dimension, or fewer than two
            different ones, or a separation that is not positive.

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
    spread, low, high = spread_of(starts), starts.amin(0), starts.amax(0)

    def slope(x: Tensor) -> Tensor:
        return 0.5 * landscape.gradient(x).square().sum(-1)

    def slope_gradient(x: Tensor) -> Tensor:
        return (landscape.hessian(x) @ landscape.gradient(x).unsqueeze(-1)).squeeze(-1)

    def slope_hessian(x: Tensor) -> Tensor:
        h = landscape.hessian(x)
        return h @ h

    x = descend(slope, slope_gradient, slope_hessian, starts, max_length=0.1 * spread).x
    h = landscape.hessian(x)
    left = (torch.linalg.pinv(h, hermitian=True) @ landscape.gradient(x).unsqueeze(-1)).squeeze(-1)
    # A minimum of |grad E| that is not zero has a singular Hessian, and a long Newton step.
    steep = (
        landscape.gradient(x).norm(dim=-1) > 1e-6 * landscape.gradient(starts).norm(dim=-1).max()
    )
    inside = ((x >= low) & (x <= high)).all(-1)
    x = x[inside & ~steep & (left.norm(dim=-1) < 1e-4 * spread)]
    energies = landscape(x)
    kept = distinct(x, energies, separation * spread)
    x = x[kept]
    curvatures = torch.linalg.eigvalsh(landscape.hessian(x))
    return StationaryPoints(x, energies[kept], curvatures, tuple(map(_kind, curvatures.tolist())))


def _kind(curvatures: list[float]) -> str:
    if curvatures[0] > 0:
        return "minimum"
    return "maximum" if curvatures[-1] < 0 else "saddle"
