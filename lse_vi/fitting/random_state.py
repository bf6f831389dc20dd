"""The random generators of a fit: its own, so that neither torch's nor another thread's matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lse_vi.random.draws import CURRENT, Generators, generator


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Within, this thread draws from generators of its own; torch's are left alone.

    Args:
        seed: None changes nothing.

    Example:
        >>> before = torch.get_rng_state()
        >>> with seeded(0):
        ...     x = torch.rand(3, generator=generator())
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    if seed is None:
        yield
        return
    token = CURRENT.set(Generators(seed))
    try:
        yield
    finally:
        CURRENT.reset(token)


def reseed(seed: int) -> None:
    """Begin anew with ``seed``, inside :func:`seeded`."""
    CURRENT.set(Generators(seed))


def random_state(device: torch.device) -> list[Tensor]:
    """The states of the generators of the CPU and ``device``, for :func:`set_random_state`."""
    return [one.get_state() for one in _generators(device)]


def set_random_state(states: list[Tensor], device: torch.device) -> None:
    """Restore ``states`` that :func:`random_state` returned."""
    for one, state in zip(_generators(device), states, strict=False):  # may resume on a GPU
        one.set_state(state)


def _generators(device: torch.device) -> list[torch.Generator]:
    """The generator of the CPU, and that of ``device`` if it is a GPU."""
    own = [generator() or torch.default_generator]
    if device.type == "cuda":
        own.append(generator(device) or torch.cuda.default_generators[device.index or 0])
    return own
