"""Paths prepared for a model: in its units, times first, with all that needs no parameters."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor


class Strains(NamedTuple):
    """Paths prepared for :class:`Elastic` and :class:`Play`, in the model's units.

    Attributes:
        strain: (times, paths, *event).
        x: invariants of the strain, (times, paths, dim).
    """

    strain: Tensor
    x: Tensor


class Drives(NamedTuple):
    """Paths prepared for :class:`Memory`, with what drives the states.

    Attributes:
        strain: at the samples, (times, paths, *event).
        x: invariants at the samples, (times, paths, dim).
        start, end: features at the start and the end of each step, (steps, paths, features).
        ds: progress of each step, (steps, paths, 1).
        sample: features at each sample, with the rate of its step, (times, paths, features).
        position: of each sample among the steps, (times, paths).
        x_steps: invariants at the ends of the steps, (steps + 1, paths, dim).
    """

    strain: Tensor
    x: Tensor
    start: Tensor
    end: Tensor
    ds: Tensor
    sample: Tensor
    position: Tensor
    x_steps: Tensor


Prepared = TypeVar("Prepared", Strains, Drives)


def select(prepared: Prepared, paths: Tensor) -> Prepared:
    """The paths at the indices ``paths``."""
    return type(prepared)(*(part[:, paths] for part in prepared))


def restore(values: Tensor, lead: torch.Size) -> Tensor:
    """Undo the flattening of paths: (times, paths, *event) -> (*paths, times, *event)."""
    return values.transpose(0, 1).reshape(*lead, *values.shape[2:])
