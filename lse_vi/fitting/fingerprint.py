"""Fingerprints of data, settings and models, to recognise the checkpoint of a fit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Types whose repr() shows the whole value, and is the same in every process.
PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, Path)


def digest(parts: Iterable[Any]) -> str:
    """A fingerprint of objects, in order, by their content; the same in every process.

    Use it for what a result depends on. Tensors and arrays enter by their shapes, types and bits;
    numbers and strings by their values; containers, modules and plain objects (a solver, a stepper)
    by all that they hold; classes and functions of a module by their names.

    Raises:
        ValueError: for an object without a content to compare: a lambda or a local function, which
            may hold anything, or an object without attributes.

    Example:
        >>> x = torch.zeros(2, 3)
        >>> digest([x, 1.0]) == digest([x.clone(), 1.0]), digest([x]) == digest([x.reshape(3, 2)])
        (True, False)
    """
    total = hashlib.sha256()
    for part in parts:  # one at a time: together they may be too large for the memory
        for piece in _pieces(part, seen=set()):
            total.update(piece)
    return total.hexdigest()


def _pieces(part: Any, seen: set[int]) -> Iterable[bytes]:
    """``part`` as bytes, piece by piece; ``seen`` are the containers and objects around it."""
    if isinstance(part, PLAIN):
        yield f"{type(part).__name__} {part!r};".encode()
    elif isinstance(part, Tensor):
        # A parameter that is frozen stays where it is: that decides the result too.
        frozen = " frozen" if isinstance(part, nn.Parameter) and not part.requires_grad else ""
        yield f"tensor {tuple(part.shape)} {part.dtype}{frozen};".encode()
        # Copy: a tensor of one entry counts as contiguous whatever its stride, but view needs one.
        bits = part.detach().cpu().clone(memory_format=torch.contiguous_format)
        yield bits.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif hasattr(part, "__array__") and not (array := np.asarray(part)).dtype.hasobject:
        yield f"array {array.shape} {array.dtype.str};".encode()
        yield array.tobytes()
    elif isinstance(part, type) or (callable(part) and hasattr(part, "__qualname__")):
        if "<" in part.__qualname__ and not isinstance(part, type):  # <lambda>, <locals>
            raise _unknown(part)
        yield f"name {part.__module__}.{part.__qualname__};".encode()
    elif id(part) in seen:
        yield b"again;"
    else:
        yield f"{type(part).__qualname__} {{".encode()
        for inner in _contents(part):
            yield from _pieces(inner, seen | {id(part)})
        yield b"};"


def _contents(part: Any) -> Iterable[Any]:
    """What a container, a module or a plain object holds, in order."""
    if isinstance(part, Mapping):
        return [piece for item in part.items() for piece in item]
    if isinstance(part, list | tuple):
        return part
    if isinstance(part, set | frozenset):
        return sorted(part, key=repr)
    if isinstance(part, nn.Module):
        own = {k: v for k, v in vars(part).items() if not k.startswith("_") and k != "training"}
        return [own, part._parameters, part._buffers, part._modules]
    if not hasattr(part, "__dict__"):
        raise _unknown(part)
    return [vars(part)]


def _unknown(part: Any) -> ValueError:
    """The error for an object without a content to compare."""
    return ValueError(
        f"checkpoint: an argument of type {type(part).__name__} cannot be told from another one, "
        "so the file would not know its fit; give tensors, arrays of numbers, numbers, strings, "
        "or lists, tuples and dictionaries of them, functions of a module, or objects that hold "
        "them as attributes"
    )
