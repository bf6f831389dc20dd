"""The distinct minima of a function, found from many starts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.checks import check_positive
from lse_vi.numerics.newton import Function, descend


class Minima(NamedTuple):
    """Minima of a potential, lowest first: ``points`` (m, dim), ``energies`` (m,)."""

    points: Tensor
    energies: Tensor


def find_minima(
    energy: Function,
    gradient: Function,
    hessian: Function,
    starts: Tensor,
    *,
    separation: float,
) -> Minima:
    """Minima of ``energy`` reached by Newton descent from ``starts`` (n, dim).

    Points that ran away, two spreads of the starts or more, are left out; those closer than
    ``separation`` times the spread are one.

    Raises:
        ValueError: for fewer than two different starts, or a separation that is not positive.
    """
    check_positive("separation", separation)
    spread = spread_of(starts)
    end = descend(energy, gradient, hessian, starts, max_length=0.1 * spread)
    inside = ((end.x - starts.mean(0)).abs() <= 2 * spread).all(-1)
    curved = torch.linalg.eigvalsh(end.hessian)[..., 0] > 0
    good = end.converged & inside & curved
    points, energies = end.x[good], end.energy[good]
    kept = distinct(points, energies, separation * spread)
    return Minima(points[kept], energies[kept])


def spread_of(starts: Tensor) -> Tensor:
    """The diagonal of the box around ``starts`` (n, dim), the scale of a search.

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


def distinct(points: Tensor, energies: Tensor, radius: float | Tensor) -> list[int]:
    """Indices of ``points`` (n, dim), lowest first, without those within ``radius`` of another."""
    kept: list[int] = []
    for i in energies.argsort().tolist():
        if all((points[i] - points[j]).norm() > radius for j in kept):
            kept.append(i)
    return kept
