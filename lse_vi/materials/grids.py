"""Where a model with memory takes its steps, and how values pass between steps and samples."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lse_vi.checks import check_positive

ROUNDING = 1e-3
"""In steps or radians: a stretch of four steps in length must not become five, nor bend."""


class Steps(Protocol):
    """At which step, a whole number or between two, each sample of a path is met."""

    def __call__(self, points: Tensor) -> Tensor:
        """Paths (times, paths, coordinates) -> positions (times, paths), from 0, not falling."""


class SampleSteps:
    """A step from each sample to the next, as in the paper.

    Example:
        >>> SampleSteps()(torch.zeros(4, 1, 2)).flatten().tolist()
        [0.0, 1.0, 2.0, 3.0]
    """

    def __call__(self, points: Tensor) -> Tensor:
        """0, 1, 2, ..., (times, paths)."""
        return torch.arange(len(points)).to(points).unsqueeze(-1).expand(points.shape[:2])


class EvenSteps:
    """Even steps along each straight stretch of a path, none longer than ``longest``.

    The steps depend on the path alone: samples put in on a straight stretch change none of them.

    Args:
        longest: in the units of the path.

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
        """(times, paths, coordinates) -> (times, paths)."""
        change = points.diff(dim=0)
        length = change.norm(dim=-1)  # of each interval, (times - 1, paths)
        direction = change / length.clamp_min(torch.finfo(length.dtype).tiny).unsqueeze(-1)
        # A rest bends nothing: it has the direction in which it was reached.
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
    """Passes between samples and steps; a path of fewer steps than the longest rests at its end.

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
        """Values at the samples (times, paths, *event) -> at the steps, straight in between."""
        return _interpolate(samples, self.interval, self.share)


def last(position: Tensor) -> int:
    """The number of steps to the end of the longest path."""
    return int((position[-1].max() - ROUNDING).ceil().clamp_min(1))


def read(steps: Tensor, position: Tensor) -> Tensor:
    """Values at the steps (steps + 1, paths, *event) -> at samples, by their ``position``."""
    before = position.floor().clamp_max(len(steps) - 2)
    return _interpolate(steps, before.long(), (position - before).clamp_max(1.0))


def arrival(position: Tensor) -> tuple[Tensor, Tensor]:
    """The step within which each sample is met, and the share of it passed: two (times, paths)."""
    step = ((position - ROUNDING).ceil() - 1).clamp_min(0)
    return step.long(), (position - step).clamp(0.0, 1.0)


def pick(steps: Tensor, step: Tensor) -> Tensor:
    """Values of the steps (steps, paths, *event) that ``step`` (times, paths) names."""
    extra = (1,) * (steps.dim() - 2)
    return steps.gather(0, step.reshape(*step.shape, *extra).expand(-1, -1, *steps.shape[2:]))


def _interpolate(values: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Between values[index] and values[index + 1]: (n, paths, *event), index (m, paths)."""
    share = share.reshape(*share.shape, *(1,) * (values.dim() - 2))
    return torch.lerp(pick(values, index), pick(values, index + 1), share)


def _from_zero(values: Tensor) -> Tensor:
    """``values`` with a row of zeros before them."""
    return torch.nn.functional.pad(values, (0, 0, 1, 0))
