"""Sums of products in logarithms, as ``opt_einsum`` asks them of a backend.

Pyro's own backend takes the exponential of each factor by itself, so two factors which are far
apart (-800 and 0 beside 0 and -800) give minus infinity, and vmap cannot run it. Here the factors
are added first, as one does by hand.
"""

from __future__ import annotations

import torch
from pyro.ops.einsum.util import Tensordot
from torch import Tensor


def transpose(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """``x`` with its dimensions in another order."""
    return x.permute(axes)


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """log of the product of exp(operands), summed over all symbols that are not behind the arrow.

    Example:
        >>> one, two = torch.tensor([[0.5, 0.5], [0.1, 0.9]]), torch.tensor([0.2, 0.8])
        >>> einsum("ab,b->a", one.log(), two.log()).exp()
        tensor([0.5000, 0.7400])
    """
    inputs, output = equation.split("->")
    symbols = [*output, *sorted(set(inputs) - set(output) - {","})]
    total = sum(
        _aligned(x, dims, symbols) for x, dims in zip(operands, inputs.split(","), strict=True)
    )
    assert isinstance(total, Tensor)
    return log_sum(total, tuple(range(len(output), len(symbols))))


tensordot = Tensordot(einsum)


def log_sum(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """log of the sum of exp(x) over ``dims``; where all of these are zero its gradient is zero.

    That of ``torch.logsumexp`` is NaN there.
    """
    if not dims:
        return x.clone()  # a new tensor, as Pyro writes the names of its dimensions on it
    limits = torch.finfo(x.dtype)
    top = x.detach().amax(dims, keepdim=True).clamp(limits.min, limits.max)
    total = (x - top).exp().sum(dims)
    log = torch.where(total > 0, total.clamp_min(limits.tiny).log(), -torch.inf)
    return log + top.squeeze(dims)


def _aligned(x: Tensor, dims: str, symbols: list[str]) -> Tensor:
    """``x`` with a dimension for each of ``symbols``, of size one where it has none."""
    x = x.permute([dims.index(s) for s in symbols if s in dims])
    return x.reshape(
        [
            x.shape[sum(t in dims for t in symbols[:i])] if s in dims else 1
            for i, s in enumerate(symbols)
        ]
    )
