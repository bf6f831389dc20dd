"""A module with other tensors in the place of its parameters, gradients flowing into them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def substitute(module: Module, tensors: Mapping[str, Tensor], *, batch_dims: int) -> Module:
    """``module`` with some parameters replaced by ``tensors``, its batch shape widened to theirs.

    The first ``batch_dims`` dimensions of every parameter are a batch. Each tensor has a batch of
    its own; all are broadcast, those of the parameters that were not given too.

    Raises:
        ValueError: for a name that is no parameter, or a shape that does not end in its own.
    """
    own = dict(module.named_parameters())
    unknown = set(tensors) - set(own)
    if unknown:
        raise ValueError(f"no parameter is named {sorted(unknown)}")
    merged, batches = {**own, **tensors}, []
    for name, tensor in merged.items():
        event = own[name].shape[batch_dims:]
        split = tensor.dim() - len(event)
        if tensor.shape[max(split, 0) :] != event:
            raise ValueError(
                f"{name} must have a shape that ends in {tuple(event)}, "
                f"but got {tuple(tensor.shape)}"
            )
        batches.append(tensor.shape[:split])
    batch = torch.broadcast_shapes(*batches)
    wide = {name: p.expand(batch + own[name].shape[batch_dims:]) for name, p in merged.items()}
    return _replace(module, wide, "")


def _replace(module: Module, tensors: Mapping[str, Tensor], prefix: str) -> Module:
    """A copy of ``module`` and its children, in which plain tensors stand for parameters."""
    clone = copy.copy(module)
    clone._parameters = {
        name: tensors.get(prefix + name, p)  # type: ignore[misc]
        for name, p in module._parameters.items()
    }
    clone._modules = {
        name: child if child is None else _replace(child, tensors, f"{prefix}{name}.")
        for name, child in module._modules.items()
    }
    return clone
