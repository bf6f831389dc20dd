"""The random generators of a fit: the CPU's, and that of its GPU if it runs on one.

They are seeded one by one: ``torch.manual_seed`` would also seed GPUs that the fit does not use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int | None, device: torch.device | str | None = None) -> Iterator[None]:
    """Seed the generators, and restore their states at the end: for reproducible fits.

    Args:
        seed: None changes nothing.
        device: of the fit; None where it is not known, which seeds every GPU.

    Example:
        >>> before = torch.get_rng_state()
        >>> with seeded(0):
        ...     x = torch.rand(3)
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    if seed is None:
        yield
    elif device is None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    else:
        device = torch.device(device)
        with torch.random.fork_rng(devices=_gpus(device)):
            reseed(seed, device)
            yield


def reseed(seed: int, device: torch.device) -> None:
    """Seed the generators of ``device`` and the CPU; their states are not restored."""
    torch.default_generator.manual_seed(seed)
    for gpu in _gpus(device):
        with torch.cuda.device(gpu):
            torch.cuda.manual_seed(seed)


def random_state(device: torch.device) -> list[Tensor]:
    """The states of the generators of the CPU and ``device``, for :func:`set_random_state`."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(gpu) for gpu in _gpus(device))]


def set_random_state(states: list[Tensor], device: torch.device) -> None:
    """Restore ``states`` that :func:`random_state` returned."""
    torch.set_rng_state(states[0])
    for gpu, state in zip(_gpus(device), states[1:], strict=False):  # a fit may resume on a GPU
        torch.cuda.set_rng_state(state, gpu)


def _gpus(device: torch.device) -> list[torch.device]:
    """``device`` in a list if it is a GPU, else an empty list."""
    return [device] if device.type == "cuda" else []
