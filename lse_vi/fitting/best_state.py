"""Parameters of a batch of potentials, moved about one member of the batch at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

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


@dataclass
class Best:
    """The best state so far of every member of a batch.

    Attributes:
        state: its parameters.
        losses: of points held out, at the state with the smallest mean, (n, *batch); n may be 0.
        objective: the largest so far, (*batch,): early stopping may land tens of nats below it.
        stale: at how many looks in a row the points held out spoke against every member.
    """

    state: State
    losses: Tensor
    objective: Tensor
    stale: int = 0

    @property
    def score(self) -> Tensor:
        """What is to be small: held-out loss, or the objective, negative; (*batch,)."""
        return self.losses.mean(0) if len(self.losses) else -self.objective

    def look(
        self,
        module: nn.Module,
        objective: Tensor,
        losses: Tensor,
        *,
        noise: Tensor | float = 0.0,
        slack: float = 0.0,
    ) -> None:
        """Keep the parameters as they are where they are no worse than the best so far.

        By points held out, if there are any: the mean loss is no more than ``slack`` standard
        errors (of the difference) above the smallest so far. Else by the objective: it is no more
        than its error, ``noise`` (*batch,), below the largest so far.
        """
        if len(losses):
            excess = losses - self.losses
            error = excess.std(0, correction=0) / math.sqrt(len(losses))
            good = excess.mean(0) < slack * error
            self.losses = torch.where(excess.mean(0) < 0, losses, self.losses)
            self.stale = 0 if bool(good.any()) else self.stale + 1
        else:
            good = objective >= self.objective - noise
        self.state = replace_where(good, snapshot(module), self.state)
        self.objective = torch.maximum(objective, self.objective)


def _align(small: Tensor, large: Tensor) -> Tensor:
    """``small`` with trailing axes added, to broadcast over the parameters of each potential."""
    return small.reshape(small.shape + (1,) * (large.dim() - small.dim()))
