"""Conversion of the tensors, arrays and lists that users hand over."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lse_vi.checks import check_finite


def as_tensor(x: Any) -> Tensor:
    """A tensor, an array or nested lists as a tensor of the same dtype, without gradient."""
    return x.detach() if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))


def as_floats(x: Any) -> Tensor:
    """As :func:`as_tensor`, with integers converted to the default floating dtype."""
    data = as_tensor(x)
    return data if data.is_floating_point() else data.to(torch.get_default_dtype())


def as_data(name: str, x: Any, minimum: int = 1) -> Tensor:
    """Data (n, dim) or (n,) as a finite floating tensor (n, dim); the check of every fit's data.

    Args:
        name: of the argument, for the errors.
        x: tensor, array or nested lists.
        minimum: the least number of points.

    Raises:
        ValueError: for another shape, an empty array, NaN or infinity, or fewer points than
            ``minimum``.

    Example:
        >>> as_data("x", [1, 2, 3]).shape
        torch.Size([3, 1])
    """
    data = as_floats(x)
    if data.dim() == 1:
        data = data.unsqueeze(-1)
    if data.dim() != 2:
        raise ValueError(f"{name} must have shape (n, dim) or (n,), but got {tuple(data.shape)}")
    if data.numel() == 0:
        raise ValueError(f"{name} is empty: shape {tuple(data.shape)}")
    check_finite(name, data)
    if data.shape[0] < minimum:
        raise ValueError(f"{name} needs at least {minimum} points, but got {data.shape[0]}")
    return data
