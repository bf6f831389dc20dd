"""Work shared by the processes of ``torch.distributed``; a single process changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """Number of processes that work together: one unless ``torch.distributed`` is initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def own_share(x: Tensor) -> Tensor:
    """The rows of ``x`` for this process to work on: the rows are dealt out in turn.

    Example:
        >>> own_share(torch.arange(3))
        tensor([0, 1, 2])
    """
    return x if processes() == 1 else x[dist.get_rank() :: processes()]


@torch.no_grad()
def average_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the processes, in place, with one message for all.

    For data-parallel training: call it with the gradients, between ``backward`` and the optimiser's
    step.

    Example:
        >>> x = torch.ones(2)
        >>> average_([x])
        >>> x
        tensor([1., 1.])
    """
    if processes() == 1:
        return
    parts = list(tensors)
    message = torch.cat([part.flatten() for part in parts])
    dist.all_reduce(message)
    message /= processes()
    for part, mean in zip(parts, message.split([p.numel() for p in parts]), strict=True):
        part.copy_(mean.view_as(part))
