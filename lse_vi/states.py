"""Parameters of a batch of potentials, moved about one member of the batch at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def snapshot(module: nn.Module) -> State:
    """A copy of every parameter."""
    return {name: p.detach().clone() for name, p in module.state_dict().items()}


def replace_where(mask: Tensor, new: State, old: State) -> State:
    """``new`` where ``mask`` (*batch,) holds, else ``old``."""
    return {name: torch.where(_align(mask, p), p, old[name]) for name, p in new.items()}


def take_first(state: State, index: Tensor) -> State:
    """The entries ``index`` (*batch,) of the first axis: (n, *batch, ...) -> (*batch, ...)."""
    index = index.unsqueeze(0)
    return {
        name: torch.take_along_dim(p, _align(index, p), 0).squeeze(0) for name, p in state.items()
    }


def _align(small: Tensor, large: Tensor) -> Tensor:
    """``small`` with trailing axes added, to broadcast over the parameters of each potential."""
    return small.reshape(small.shape + (1,) * (large.dim() - small.dim()))
