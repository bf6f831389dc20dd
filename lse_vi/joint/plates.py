"""Plates that subsample their data, made whole: a posterior is that of all data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from pyro.poutine.subsample_messenger import SubsampleMessenger
from torch import Tensor


@contextmanager
def whole_plates() -> Iterator[None]:
    """Within, ``pyro.plate(..., subsample_size=n)`` takes all data; given indices it keeps.

    Example:
        >>> import pyro
        >>> with whole_plates():
        ...     len(pyro.plate("data", 10, subsample_size=2).indices)
        10
    """
    original = SubsampleMessenger._subsample

    def whole(
        name: str,
        size: int | None = None,
        subsample_size: int | None = None,
        subsample: Tensor | None = None,
        use_cuda: bool | None = None,
        device: str | None = None,
    ) -> Any:
        wanted = subsample_size if subsample is not None or size is None else None
        return original(name, size, wanted, subsample, use_cuda, device)

    with patch.object(SubsampleMessenger, "_subsample", staticmethod(whole)):
        yield
