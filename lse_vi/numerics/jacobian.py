"""Jacobians of functions that map each point by itself."""

from __future__ import annotations

import torch
from torch import Tensor


def jacobian(values: Tensor, x: Tensor, *, create_graph: bool = False) -> Tensor:
    """Derivatives of ``values`` (*shape, m) by ``x`` (*shape, dim): (*shape, m, dim).

    Every row of ``values`` must depend on its own row of ``x`` alone. Of a gradient, this is the
    Hessian.

    Args:
        create_graph: keep what derivatives of the result need.

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
