"""The distinct minima of a function, found from many starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.checks import check_positive
from lse_vi.numerics.newton import Function, descend

# Longest Newton step, in spreads of the starts: short enough that a start stays in its own valley.
LONGEST_STEP = 0.1
# Largest distance of a minimum from the starts' mean in any coordinate, in spreads of the starts:
# a descent that ends farther away has left the region of interest.
REACH = 2


class Minima(NamedTuple):
    """Minima of a potential, lowest first: ``points`` (m, dim), ``energies`` (m,)."""

    points: Tensor
    energies: Tensor


@torch.no_grad()
def find_minima(
    energy: Function,
    gradient: Function,
    hessian: Function,
    starts: Tensor,
    *,
    separation: float,
) -> Minima:
    """Distinct minima of ``energy`` reached by Newton descent from ``starts``.

    Use it to count the wells of any function with two derivatives. Ends farther than two spreads
    from the starts are left out.

    Args:
        energy: (n, dim) -> (n,).
        gradient: (n, dim) -> same shape.
        hessian: (n, dim) -> (n, dim, dim).
        starts: (n, dim), data or a grid over the region of interest.
        separation: minima closer than this share of the starts' spread count as one.

    Raises:
        ValueError: for fewer than two different starts, or a separation that is not positive.

    Example:
        >>> found = find_minima(
        ...     lambda x: (x.square() - 1).square().sum(-1),
        ...     lambda x: 4 * x * (x.square() - 1),
        ...     lambda x: (12 * x.square() - 4).unsqueeze(-1),
        ...     torch.linspace(-2, 2, 8).unsqueeze(-1),
        ...     separation=1e-3,
        ... )
        >>> found.points.shape
        torch.Size([2, 1])
    """
    check_positive("separation", separation)
    frame = Frame.around(starts, energy(starts))
    end = descend(
        lambda u: frame.energy(energy(frame.point(u))),
        lambda u: frame.gradient(gradient(frame.point(u))),
        lambda u: frame.hessian(hessian(frame.point(u))),
        frame.place(starts),
        max_length=LONGEST_STEP,
    )
    inside = (end.x.abs() <= REACH).all(-1)
    curved = torch.linalg.eigvalsh(end.hessian)[..., 0] > 0
    good = end.converged & inside & curved
    u, energies = end.x[good], end.energy[good]
    points = frame.point(u[distinct(u, energies, separation)])
    energies, order = energy(points).sort()
    return Minima(points[order], energies)


class Frame(NamedTuple):
    """Units in which a search goes on, so that nothing in it depends on those of the data.

    ``middle`` (dim,) and ``spread`` () of the starts; ``level`` and ``height`` of their energies.
    """

    middle: Tensor
    spread: Tensor
    level: Tensor
    height: Tensor

    @classmethod
    def around(cls, starts: Tensor, energies: Tensor) -> Frame:
        """The frame of starts (n, dim) and the energies there, (n,)."""
        finite = energies[energies.isfinite()]
        level, height = energies.new_zeros(()), energies.new_zeros(())
        if len(finite):
            level, height = finite.median(), finite.amax() - finite.amin()
        one = torch.ones_like(height)
        return cls(starts.mean(0), spread_of(starts), level, torch.where(height > 0, height, one))

    def place(self, x: Tensor) -> Tensor:
        """x in the frame."""
        return (x - self.middle) / self.spread

    def point(self, u: Tensor) -> Tensor:
        """Undo :meth:`place`."""
        return self.middle + self.spread * u

    def energy(self, energy: Tensor) -> Tensor:
        """Energies in the frame."""
        return (energy - self.level) / self.height

    def gradient(self, gradient: Tensor) -> Tensor:
        """Slopes in the frame."""
        return gradient / self.height * self.spread

    def hessian(self, hessian: Tensor) -> Tensor:
        """Curvatures in the frame."""
        return hessian / self.height * self.spread * self.spread


def spread_of(starts: Tensor) -> Tensor:
    """The diagonal of the bounding box of ``starts`` (n, dim): the unit of length of a search.

    Raises:
        ValueError: for fewer than two different starts.
    """
    if starts.dim() == 2 and len(starts) > 1:
        spread = (starts.amax(0) - starts.amin(0)).norm()
        if spread > 0:
            return spread
    raise ValueError(
        f"starts must hold at least two different points (n, {starts.shape[-1]}), as their "
        f"spread is the scale of the search, but got {starts.tolist()}"
    )


def distinct(
    points: Tensor,
    energies: Tensor,
    radius: float | Tensor,
    apart: Callable[[Tensor, Tensor], Tensor] = torch.sub,
) -> list[int]:
    """Indices of ``points`` (n, dim), lowest first, none within ``radius`` of a lower one.

    ``apart`` gives the vector between points, (..., dim) each: on a circle, the shorter way around.
    """
    kept: list[int] = []
    for i in energies.argsort().tolist():
        if bool((apart(points[kept], points[i]).norm(dim=-1) > radius).all()):
            kept.append(i)
    return kept
