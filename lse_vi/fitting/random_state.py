"""The random generators of a fit: the CPU's, and that of its GPU if it runs on one.

``torch.manual_seed`` would seed every GPU, also those that the fit has nothing to do with.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def fork_random_state(device: torch.device) -> AbstractContextManager[None]:
    """A context after which the generators are as they were.

    Example:
        >>> before, cpu = torch.get_rng_state(), torch.device("cpu")
        >>> with fork_random_state(cpu):
        ...     reseed(0, cpu)
        ...     x = torch.rand(3)
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    return torch.random.fork_rng(devices=_gpus(device))


def reseed(seed: int, device: torch.device) -> None:
    """Start the generators from ``seed``."""
    torch.default_generator.manual_seed(seed)
    for gpu in _gpus(device):
        with torch.cuda.device(gpu):
            torch.cuda.manual_seed(seed)


def random_state(device: torch.device) -> list[Tensor]:
    """The states of the generators."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(gpu) for gpu in _gpus(device))]


def set_random_state(states: list[Tensor], device: torch.device) -> None:
    """Go on from ``states`` that :func:`random_state` gave."""
    torch.set_rng_state(states[0])
    for gpu, state in zip(_gpus(device), states[1:], strict=False):  # one may move to a GPU
        torch.cuda.set_rng_state(state, gpu)


def _gpus(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
