"""Clocks: the quantity s in which progress along a path is measured."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Clock(Protocol):
    """Gives the rate of strain along a path and the progress ds of each step.

    The interface of :class:`ArcLength` and :class:`Time`, to write a clock of your own.
    """

    def __call__(self, strain: Tensor, times: Tensor | None, events: int) -> tuple[Tensor, Tensor]:
        """The rates dE/ds, (steps, paths, *event), and the progress ds, (steps, paths, 1).

        Args:
            strain: at the ends of the steps, (steps + 1, paths, *event).
            times: at the ends of the steps, (steps + 1, paths), or None.
            events: number of axes of one strain.
        """


class ArcLength:
    r"""s is the length of the path, \int |dE|: the rate is a direction, and time does not matter.

    For rate-independent materials: the response depends on the order of strains alone. A rest,
    E_{n+1} = E_n, makes no progress.

    Example:
        >>> path = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]]).unsqueeze(1)  # one path
        >>> direction, length = ArcLength()(path, None, 1)
        >>> length.flatten().tolist(), direction[0, 0].tolist()
        ([5.0, 0.0], [0.6000000238418579, 0.800000011920929])
    """

    def __call__(self, strain: Tensor, times: Tensor | None, events: int) -> tuple[Tensor, Tensor]:
        """Directions (steps, paths, *event), and lengths (steps, paths, 1)."""
        change = strain.diff(dim=0)
        length = change.flatten(-events).norm(dim=-1)
        unit = length.clamp_min(torch.finfo(strain.dtype).tiny)
        return change / unit.reshape(unit.shape + (1,) * events), length.unsqueeze(-1)


class Time:
    """s is time, as in the paper: the rate is dE/dt.

    For rate-dependent materials: the same path run faster gives another response.

    Raises:
        ValueError: when called without times.

    Example:
        >>> path, times = torch.tensor([[0.0], [1.0]]).unsqueeze(1), torch.tensor([[0.0], [0.5]])
        >>> rate, step = Time()(path, times, 1)
        >>> rate.item(), step.item()
        (2.0, 0.5)
    """

    def __call__(self, strain: Tensor, times: Tensor | None, events: int) -> tuple[Tensor, Tensor]:
        """Rates (steps, paths, *event), and steps of time (steps, paths, 1)."""
        if times is None:
            raise ValueError("times must be given for a model that goes by time, unlike ArcLength")
        step = times.diff(dim=0)  # (steps, paths)
        rest = step.clamp_min(torch.finfo(strain.dtype).tiny)
        rate = strain.diff(dim=0) / rest.reshape(rest.shape + (1,) * events)
        return rate, step.unsqueeze(-1)
