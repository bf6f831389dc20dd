"""Gradients within a fit, whatever surrounds its call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map


@contextmanager
def with_gradients() -> Iterator[None]:
    """Within, gradients are recorded: also under ``torch.no_grad`` or ``torch.inference_mode``.

    Use it as a decorator of functions that train, below :func:`~lse_vi.signatures.checked`.

    Example:
        >>> @with_gradients()
        ... def train() -> bool:
        ...     return (2 * torch.ones(1, requires_grad=True)).requires_grad
        >>> with torch.inference_mode():
        ...     train()
        True
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield


def usable(args: Any) -> Any:
    """``args``, a container, with copies of the tensors made under inference mode.

    Torch refuses those where gradients are recorded.
    """
    return tree_map(lambda a: a.clone() if isinstance(a, Tensor) and a.is_inference() else a, args)


def check_trainable(name: str, module: nn.Module) -> None:
    """The parameters of ``module`` must not have been made under inference mode."""
    if any(p.is_inference() for p in module.parameters()):
        raise ValueError(
            f"{name} must be made outside of torch.inference_mode(), as its parameters cannot "
            "be trained; make it again outside"
        )
