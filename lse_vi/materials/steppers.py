"""Steps of the internal states: from h_n to h_{n+1}."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Stepper(Protocol):
    """One explicit step of dh/ds, from its drives at both ends."""

    def __call__(self, rate: Any, h: Tensor, start: Tensor, end: Tensor, ds: Tensor) -> Tensor:
        """h after ds: (*shape, states)."""


class Euler:
    """h + ds rate(start), first order: the paper's.

    Example:
        >>> decay = lambda h, drive: -h
        >>> h = Euler()(decay, torch.ones(1), torch.zeros(1), torch.zeros(1), torch.tensor(0.1))
        >>> round(h.item(), 3)
        0.9
    """

    def __call__(self, rate: Any, h: Tensor, start: Tensor, end: Tensor, ds: Tensor) -> Tensor:
        """h after ds: (*shape, states)."""
        return h + ds * rate(h, start)


class Heun:
    """The mean of the rates at the start and at Euler's end: second order.

    Example:
        >>> decay = lambda h, drive: -h
        >>> h = Heun()(decay, torch.ones(1), torch.zeros(1), torch.zeros(1), torch.tensor(0.1))
        >>> round(h.item(), 3)
        0.905
    """

    def __call__(self, rate: Any, h: Tensor, start: Tensor, end: Tensor, ds: Tensor) -> Tensor:
        """h after ds: (*shape, states)."""
        first = rate(h, start)
        second = rate(h + ds * first, end)
        return h + 0.5 * ds * (first + second)


class Exponential:
    r"""Exact for a constant speed and interval: c + (h - c) exp(-a ds), c its point nearest to h.

    First order, stable for any a and ds. For a :class:`RelaxationRate`, read at the strain at which
    the step ends: where a ds is large, h arrives in the interval of that strain, however long the
    step, and corners at which a state begins to move stay sharp.

    Example:
        >>> from lse_vi.materials import RelaxationRate
        >>> rate = RelaxationRate(3, 2)
        >>> drive = rate.drive(torch.zeros(5, 3))
        >>> Exponential()(rate, torch.zeros(5, 2), drive, drive, torch.tensor(0.1)).shape
        torch.Size([5, 2])
    """

    def __call__(self, rate: Any, h: Tensor, start: Tensor, end: Tensor, ds: Tensor) -> Tensor:
        """h after ds: (*shape, states)."""
        speed, nearest = rate.relaxation(h, end)
        return h + (h - nearest) * torch.expm1(-speed * ds)
