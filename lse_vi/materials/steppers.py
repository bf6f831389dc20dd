"""Explicit steps of the internal states, from h_n to h_{n+1}."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Stepper(Protocol):
    """One explicit step of dh/ds = rate(h, drive), to write a stepper of your own."""

    def __call__(self, rate: Any, h: Tensor, start: Tensor, end: Tensor, ds: Tensor) -> Tensor:
        """The states after the step, (*shape, states).

        Args:
            rate: such as :class:`~lse_vi.materials.Rate`.
            h: the states before it, (*shape, states).
            start, end: the drives at both ends of the step, (*shape, width).
            ds: the length of the step, (*shape, 1).
        """


class Euler:
    """The paper's step h + ds rate(h, start), of first order: for short steps.

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
    """A step with the mean of the rates at the start and at the end of Euler's step: second order.

    For a smooth rate: twice the cost of :class:`Euler`, and far less error.

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
    r"""The step c + (h - c) exp(-a ds) of a :class:`RelaxationRate`, stable for all a and ds.

    c is the point of the interval nearest to h. The step is exact for a constant speed a and a
    constant interval, and of first order otherwise. Both are evaluated at the strain at the end of
    the step. So with a large a ds, h reaches the interval of that strain in one step of any length,
    and corners where a state begins to move stay sharp.

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
