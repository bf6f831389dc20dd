"""What torch is asked to do while a model runs: arrays that it makes, factors that fail."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class Arrays(TorchDispatchMode):
    """Sees the arrays that are made, in numbers: the largest, and all together."""

    largest = total = 1

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.largest = max(self.largest, out.numel())
            self.total += out.numel()
        return out


class FailedFactorsAreNaN(TorchFunctionMode):
    """A Cholesky factor that does not exist is NaN, for the draws that have none, and no error."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function not in (torch.linalg.cholesky, torch.cholesky):
            return function(*args, **(kwargs or {}))
        factor, info = torch.linalg.cholesky_ex(*args, **(kwargs or {}))
        return torch.where((info > 0)[..., None, None], torch.nan, factor)
