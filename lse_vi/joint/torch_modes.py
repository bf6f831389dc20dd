"""What torch is asked to do while a model runs: arrays that it makes, factors that fail."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Arrays(TorchFunctionMode):
    """Sees the arrays that calls of torch make, in numbers: the largest, and all together.

    Those made within a call are not seen. A mode that dispatches would see them, but imports
    torch's compiler, which takes longer than many a fit.
    """

    largest = total = 1

    def __torch_function__(
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
