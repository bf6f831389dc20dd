"""The steps of a model with memory along a path, and the conversion between steps and samples."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lse_vi.checks import check_positive

# Tolerance for rounding, in steps and in radians: a stretch that is four steps long must not get
# five, and a straight one must not count as bent.
ROUNDING = 1e-3


class Steps(Protocol):
    """Gives the position of each sample of a path among the steps; 2.5 is half of the third step.

    The interface of :class:`SampleSteps` and :class:`EvenSteps`.
    """

    def __call__(self, points: Tensor) -> Tensor:
        """Positions (times, paths) for paths (times, paths, coordinates): from 0, never falling."""


class SampleSteps:
    """One step from each sample to the next, as in the paper: for paths with samples dense enough.

    Example:
        >>> SampleSteps()(torch.zeros(4, 1, 2)).flatten().tolist()
        [0.0, 1.0, 2.0, 3.0]
    """

    def __call__(self, points: Tensor) -> Tensor:
        """0, 1, 2, ..., (times, paths)."""
        return torch.arange(len(points)).to(points).unsqueeze(-1).expand(points.shape[:2])


class EvenSteps:
    """Even steps along each straight stretch of a path, none longer than ``longest``.

    Use it if the response must not depend on how densely a path is sampled: more samples on a
    straight stretch do not change the steps.

    Args:
        longest: length of the longest step, in the unit of the path.

    Raises:
        ValueError: for a longest step that is not positive.

    Example:
        >>> path = torch.tensor([0.0, 0.5, 1.0, 0.0]).reshape(4, 1, 1)
        >>> EvenSteps(0.25)(path).flatten().tolist()
        [0.0, 2.0, 4.0, 8.0]
    """

    def __init__(self, longest: float) -> None:
        self.longest = check_positive("longest", longest)

    def __call__(self, points: Tensor) -> Tensor:
        """Positions (times, paths) for paths (times, paths, coordinates)."""
        change = points.diff(dim=0)
        length = change.norm(dim=-1)  # of each interval, (times - 1, paths)
        direction = change / length.clamp_min(torch.finfo(length.dtype).tiny).unsqueeze(-1)
        # A rest is no turn: give it the direction of the last interval that moved.
        interval = torch.arange(len(length), device=length.device).unsqueeze(-1)
        moved = torch.where(length > 0, interval, 0).cummax(0).values
        direction = torch.take_along_dim(direction, moved.unsqueeze(-1), 0)
        turns = direction.diff(dim=0).norm(dim=-1) > ROUNDING
        stretch = _from_zero(turns.cumsum(0))
        total = torch.zeros_like(length).scatter_add(0, stretch, length)
        steps = (total / self.longest - ROUNDING).ceil().clamp_min(1)
        density = steps / total.clamp_min(torch.finfo(length.dtype).tiny)
        return _from_zero((length * density.gather(0, stretch)).cumsum(0))


class Grid:
    """Converts values at samples to values at steps.

    All paths get as many steps as the longest one: a path with fewer rests at its end.

    Args:
        position: of each sample among the steps, (times, paths), from :class:`Steps`.
    """

    def __init__(self, position: Tensor) -> None:
        self.position = position
        step = torch.arange(last(position) + 1).to(position).repeat(position.shape[1], 1)
        interval = torch.searchsorted(position.mT.contiguous(), step, right=True).mT - 1
        self.interval = interval.clamp(0, len(position) - 2)  # (steps + 1, paths)
        start = position.gather(0, self.interval)
        width = position.gather(0, self.interval + 1) - start
        into = (step.mT - start) / width.clamp_min(torch.finfo(width.dtype).tiny)
        self.share = into.clamp(0.0, 1.0)

    def refine(self, samples: Tensor) -> Tensor:
        """Interpolate values at samples, (times, paths, *event), to (steps + 1, paths, *event)."""
        return _interpolate(samples, self.interval, self.share)


def last(position: Tensor) -> int:
    """The number of steps to the end of the longest path."""
    return int((position[-1].max() - ROUNDING).ceil().clamp_min(1))


def read(steps: Tensor, position: Tensor) -> Tensor:
    """Interpolate values at steps, (steps + 1, paths, *event), to the ``position`` of samples."""
    before = position.floor().clamp_max(len(steps) - 2)
    return _interpolate(steps, before.long(), (position - before).clamp_max(1.0))


def arrival(position: Tensor) -> tuple[Tensor, Tensor]:
    """The step that contains each sample, and the share of it up to there: two (times, paths)."""
    step = ((position - ROUNDING).ceil() - 1).clamp_min(0)
    return step.long(), (position - step).clamp(0.0, 1.0)


def pick(steps: Tensor, step: Tensor) -> Tensor:
    """The values (steps, paths, *event) at the indices ``step``: (times, paths, *event)."""
    extra = (1,) * (steps.dim() - 2)
    return steps.gather(0, step.reshape(*step.shape, *extra).expand(-1, -1, *steps.shape[2:]))


def _interpolate(values: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Values between values[index] and values[index + 1]: (n, paths, *event), index (m, paths)."""
    share = share.reshape(*share.shape, *(1,) * (values.dim() - 2))
    return torch.lerp(pick(values, index), pick(values, index + 1), share)


def _from_zero(values: Tensor) -> Tensor:
    """``values`` with a row of zeros before them."""
    return torch.nn.functional.pad(values, (0, 0, 1, 0))
