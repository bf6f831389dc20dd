"""Fingerprints of data, by which a checkpoint knows its own fit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

# what repr() says all of, and alike in every process
PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)


def digest(parts: Iterable[Any]) -> str:
    """A fingerprint of tensors and arrays (shapes, types and bits), numbers and strings, in order.

    Raises:
        ValueError: for any other object: nothing tells its content.

    Example:
        >>> x = torch.zeros(2, 3)
        >>> digest([x, 1.0]) == digest([x.clone(), 1.0]), digest([x]) == digest([x.reshape(3, 2)])
        (True, False)
    """
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, PLAIN):
            total.update(f"{type(part).__name__} {part!r};".encode())
        elif isinstance(part, Tensor):
            total.update(f"tensor {tuple(part.shape)} {part.dtype};".encode())
            # a tensor of one entry passes for contiguous whatever its stride, so it is copied
            bits = part.detach().cpu().clone(memory_format=torch.contiguous_format)
            total.update(bits.reshape(-1).view(torch.uint8).numpy().data)
        elif hasattr(part, "__array__") and not (array := np.asarray(part)).dtype.hasobject:
            total.update(f"array {array.shape} {array.dtype.str};".encode())
            total.update(array.tobytes())
        else:
            raise ValueError(
                f"checkpoint: an argument of type {type(part).__name__} cannot be told from "
                "another one, so the file would not know its fit; give tensors, arrays of numbers, "
                "numbers, strings, or lists, tuples and dictionaries of them"
            )
    return total.hexdigest()
