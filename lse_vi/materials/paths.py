"""Paths made ready for a model: in its units, times first, all that needs no parameters done."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor


class Strains(NamedTuple):
    """Paths made ready, in the model's units, times first; every tensor is (times, paths, ...).

    Attributes:
        strain: (times, paths, *event).
        x: its invariants, (times, paths, dim).
    """

    strain: Tensor
    x: Tensor


class Drives(NamedTuple):
    """What :class:`Strains` holds, and what moves the states.

    Attributes:
        start, end: features of each step at both ends, (steps, paths, features).
        ds: progress of each step, (steps, paths, 1).
        sample: features of each sample, in the direction of its step, (times, paths, features).
        position: of each sample among the steps, (times, paths).
        x_steps: invariants at the steps, (steps + 1, paths, dim).
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
    """Some of the paths."""
    return type(prepared)(*(part[:, paths] for part in prepared))


def restore(values: Tensor, lead: torch.Size) -> Tensor:
    """(times, paths, *event) -> (*paths, times, *event)."""
    return values.transpose(0, 1).reshape(*lead, *values.shape[2:])
