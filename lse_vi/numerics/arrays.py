"""What users hand over, read as tensors: the one place where arrays come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lse_vi.checks import check_finite


def as_tensor(x: Any) -> Tensor:
    """A tensor, an array, or nested lists as a tensor without gradient, of its own type."""
    return x.detach() if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))


def as_floats(x: Any) -> Tensor:
    """The same with integers as floats of the default dtype."""
    data = as_tensor(x)
    return data if data.is_floating_point() else data.to(torch.get_default_dtype())


def as_data(name: str, x: Any, minimum: int = 1) -> Tensor:
    """Data (n, dim) or (n,), tensor or array, as a finite floating tensor (n, dim).

    Raises:
        ValueError: for another shape, no numbers, NaN or infinity, or fewer points than
            ``minimum``.
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
