"""Replaces parameters of a module by tensors, so that gradients flow into these."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def substitute(module: Module, tensors: Mapping[str, Tensor], *, batch_dims: int) -> Module:
    """A copy of ``module`` with some parameters replaced by ``tensors``, which keep their graph.

    Use it to evaluate a module at parameters that a guide or a prior has drawn.

    Args:
        module: its parameters begin with a batch; it is left as it is.
        tensors: by parameter name; each may have any batch shape. The batch shapes of all tensors
            and of the remaining parameters are broadcast.
        batch_dims: number of batch dimensions at the left of every parameter.

    Raises:
        ValueError: for a name that is no parameter, or a shape that does not end in that of the
            parameter without its batch.

    Example:
        >>> drawn = substitute(nn.Linear(2, 1), {"bias": torch.zeros(5, 1)}, batch_dims=0)
        >>> drawn.bias.shape, drawn.weight.shape
        (torch.Size([5, 1]), torch.Size([5, 1, 2]))
    """
    own = dict(module.named_parameters())
    unknown = set(tensors) - set(own)
    if unknown:
        raise ValueError(f"tensors: no parameter is named {sorted(unknown)}")
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
    return put(module, wide)


def put(module: Module, tensors: Mapping[str, Tensor], prefix: str = "") -> Module:
    """As :func:`substitute`, of tensors that have the shapes of the parameters: unchecked, fast.

    Args:
        module: its parameter names begin with ``prefix``.
        tensors: by parameter name.
        prefix: of the names, where the module is part of another.

    Example:
        >>> put(nn.Linear(2, 1), {"bias": torch.ones(1)}).bias
        tensor([1.])
    """
    clone = copy.copy(module)
    clone._parameters = {
        name: tensors.get(prefix + name, p)  # type: ignore[misc]
        for name, p in module._parameters.items()
    }
    clone._modules = {
        name: child if child is None else put(child, tensors, f"{prefix}{name}.")
        for name, child in module._modules.items()
    }
    return clone
