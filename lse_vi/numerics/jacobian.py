"""Jacobians of functions that map each point of a batch independently."""

from __future__ import annotations

import torch
from torch import Tensor


def jacobian(values: Tensor, x: Tensor, *, create_graph: bool = False) -> Tensor:
    """Derivatives of ``values`` (*shape, m) by ``x`` (*shape, dim): (*shape, m, dim).

    Use it for a Hessian, with a gradient as ``values``. Every row of ``values`` must depend on the
    same row of ``x`` alone: then one backward pass for each of the m columns is enough.

    Args:
        values: (*shape, m), computed from ``x`` with a graph.
        x: (*shape, dim), requires grad.
        create_graph: keep the graph, for derivatives of the result.

    Example:
        >>> x = torch.randn(5, 3, requires_grad=True)
        >>> jacobian(x.square(), x).shape
        torch.Size([5, 3, 3])
    """
    rows = [
        torch.autograd.grad(component.sum(), x, create_graph=create_graph, retain_graph=True)[0]
        for component in values.unbind(-1)
    ]
    return torch.stack(rows, dim=-2)
