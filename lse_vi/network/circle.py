"""Periodic coordinates: points modulo a period, and the argument ``period`` of users."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lse_vi.checks import check_positive

# Concentration of the von Mises kernel that counts the points around one: as wide as a sixth of the
# circle. Counts that differ by less than TIE, as a share, are equal to rounding.
SHARPNESS, TIE = 8.0, 1e-9
TICKS = 2.0**34  # parts of a period to which points are rounded, 6e-11: many, but above rounding


def wrapped(x: Tensor, period: Tensor, low: Tensor | float = 0.0) -> Tensor:
    """Points (..., dim) modulo the period: in [low, low + P) where it is finite.

    Example:
        >>> wrapped(torch.tensor([5.0, 5.0]), torch.tensor([2.0, torch.inf]))
        tensor([1., 5.])
    """
    finite = period.isfinite()
    turn = torch.where(finite, period, 1.0)
    turns = torch.where(finite, ((x.detach() - low) / turn).floor(), 0.0)
    inside = x - turns * turn
    # Just below the low end, x + P rounds to the high end, which is the low end itself.
    return torch.where(finite & (inside >= low + turn), inside - turn, inside)


def apart(x: Tensor, y: Tensor, period: Tensor) -> Tensor:
    """y - x by the shorter way around, (..., dim)."""
    finite = period.isfinite()
    turn = torch.where(finite, period, 1.0)
    return torch.where(finite, (y - x) - turn * ((y - x) / turn).round(), y - x)


def sparsest(x: Tensor, weights: Tensor, period: Tensor) -> Tensor:
    """The point of ``x`` (n, dim) with the fewest around it, by coordinate, (dim,): to cut there.

    Of points that tie, as on a grid, it is the first, wherever the origin is; 0 where not periodic.

    Args:
        x: points; a thousand of many, as all pairs are compared.
        weights: of the points, (n,).
        period: (dim,), infinite where not periodic.

    Example:
        >>> hours = torch.tensor([[23.0], [1.0], [2.0], [5.0], [22.0]])
        >>> sparsest(hours, torch.ones(5), torch.tensor([24.0]))
        tensor([5.])
    """
    angles = 2 * math.pi * x / period.to(x)  # 0 where not periodic
    near = (angles.unsqueeze(1) - angles).cos()  # (n, n, dim)
    crowd = ((near - 1) * SHARPNESS).exp().mul(weights[:, None, None].to(x)).sum(0)
    first = (crowd <= crowd.amin(0) * (1 + TIE)).int().argmax(0, keepdim=True)
    return torch.where(period.isfinite(), x.gather(0, first).squeeze(0), 0.0)


def mean_around(mass: Tensor, x: Tensor, period: Tensor) -> Tensor:
    r"""The mean of x (n, ..., dim) under ``mass`` (n, ...), which sums to one: (..., dim).

    Of an angle, the circular mean: the direction of :math:`E[e^{2 \pi i x / P}]`, in
    [-P/2, P/2].

    Example:
        >>> angles = torch.tensor([[350.0], [20.0]])
        >>> mean_around(torch.tensor([0.5, 0.5]), angles, torch.tensor([360.0]))
        tensor([5.0000])
    """
    finite, mass = period.isfinite(), mass.unsqueeze(-1)
    turn = torch.where(finite, period, 1.0).to(x) / (2 * math.pi)
    angle = torch.where(finite, x / turn, 0.0)
    around = turn * torch.atan2((mass * angle.sin()).sum(0), (mass * angle.cos()).sum(0))
    return torch.where(finite, around, (mass * torch.where(finite, 0.0, x)).sum(0))


def counted_from(low: Tensor, x: Tensor, period: Tensor) -> Tensor:
    """Points (..., dim) minus ``low``, modulo the period where it is finite: in [0, P) there.

    They are rounded to a small part of the period, so that all that is computed from them is the
    same to the bit wherever the origin is. Rounding errors grow in a descent, until it ends in
    another of equally good minima.

    Example:
        >>> counted_from(torch.tensor([3.0]), torch.tensor([[1.0], [4.0]]), torch.tensor([8.0]))
        tensor([[6.],
                [1.]])
    """
    tick = torch.where(period.isfinite(), period / TICKS, 1.0)
    ticks = ((x - low) / tick).round().remainder(TICKS)
    return torch.where(period.isfinite(), tick * ticks, x - low)


def as_period(given: Any, dim: int) -> Tensor:
    """The argument ``period`` of users as (dim,), infinite where not periodic.

    Args:
        given: a number, or one for each coordinate, None where not periodic; None for none.
        dim: number of coordinates.

    Raises:
        ValueError: for another number of entries, or one that is not positive.
        TypeError: for entries that are neither numbers nor None.

    Example:
        >>> as_period([360, None], 2)
        tensor([360.,  inf], dtype=torch.float64)
    """
    one = given is None or not hasattr(given, "__len__") or getattr(given, "ndim", 1) == 0
    entries = [given] * dim if one else list(given)
    if len(entries) != dim:
        raise ValueError(
            f"period must be a number or {dim} entries (one per coordinate, None where not "
            f"periodic), but got {given!r}"
        )
    numbers = [math.inf if p is None else check_positive("period", p) for p in entries]
    return torch.tensor(numbers, dtype=torch.float64)
