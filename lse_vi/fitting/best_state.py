"""The best state of a fit, kept for each member of a batch separately."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

State = dict[str, Tensor]  # parameters by name, each (*batch, ...)


def snapshot(module: nn.Module) -> State:
    """A copy of every parameter, which later steps do not change."""
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


def lift(state: Mapping[str, Tensor]) -> State:
    """The state with a new first axis of size one, as :func:`take_first` needs."""
    return {name: p.unsqueeze(0) for name, p in state.items()}


@dataclass(kw_only=True)
class Best:
    """The best state so far of every member of a batch, to end a fit on it.

    Attributes:
        state: its parameters.
        score: its score, (*batch,); lower is better.
        stale: the number of evaluations since the last improvement, which the caller counts.

    Example:
        >>> module = nn.Linear(1, 1)
        >>> best = Best(state=snapshot(module), score=torch.tensor(2.0))
        >>> best.keep(module, torch.tensor(True), torch.tensor(1.0))
        >>> best.restore_(module)
        >>> best.score
        tensor(1.)
    """

    state: State
    score: Tensor
    stale: int = 0

    def keep(self, module: nn.Module, where: Tensor, score: Tensor) -> None:
        """Keep the module's current parameters and ``score`` where the mask (*batch,) holds."""
        self.state = replace_where(where, snapshot(module), self.state)
        self.score = torch.where(where, score, self.score)

    def restore_(self, module: nn.Module) -> None:
        """Put the best state back into the module."""
        module.load_state_dict(self.state)


def _align(small: Tensor, large: Tensor) -> Tensor:
    """``small`` (*batch,) with trailing axes, to broadcast with ``large`` (*batch, ...)."""
    return small.reshape(small.shape + (1,) * (large.dim() - small.dim()))
