"""The check of an argument that its annotation asks for."""

from __future__ import annotations

import collections.abc
import functools
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lse_vi.checks import (
    as_number,
    check_bool,
    check_device,
    check_integer,
    check_kind,
    check_seed,
    check_tensor,
    shown,
)

Check = Callable[[str, Any], Any]  # of a name and a value; returns the value, converted
# How an error calls what a type or a protocol of ours asks for; others by their names.
CALLED = {
    "str": "a string",
    "LSEICNN": "an LSEICNN",
    "AutoLSEICNN": "an AutoLSEICNN",
    "Method": "an object such as Quadrature() or LaplaceMixture()",
    "Solver": "an object such as LevenbergMarquardt() or Adam()",
    "Invariants": "an object such as Isotropic() or Components(dim)",
    "Stepper": "an object such as Euler() or Heun()",
    "Clock": "an object such as ArcLength() or Time()",
    "Steps": "an object such as SampleSteps() or EvenSteps(length)",
    "Landscape": "a landscape, such as an LSEICNN",
    "HysteresisFit": "that of fit_memory for a list of tests",
    "GuideResult": "that of fit_guide",
    "FitResult": "that of fit_density",
    "DensityPosterior": "that of fit_posterior or sample_posterior",
    "ModeCount": "that of count_modes",
    "LSEDensity": "an LSEDensity",
}
SEQUENCES = {int: " of integers", float: " of numbers", str: " of names"}


def is_union(kind: Any) -> bool:
    """Whether an annotation is ``A | B`` or ``Optional``."""
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def check_of(name: str, kind: Any) -> Check | None:
    """The check for a type that is no union; None if any value may be right."""
    own: dict[Any, Check] = {
        bool: check_bool,
        int: check_seed if name == "seed" else check_integer,
        float: as_number,
        Tensor: check_tensor,
    }
    if kind in own:
        return own[kind]
    if name == "device" and kind in (str, torch.device):
        return check_device
    origin = typing.get_origin(kind) or kind

    def known(test: Callable[[Any], bool], expected: str) -> Check:
        return functools.partial(check_kind, test=test, expected=expected)

    if origin in (None, type(None)):
        return known(lambda value: value is None, "None")
    if origin is collections.abc.Callable:
        return known(_is_function, "a function, or an object that can be called")
    of = (*typing.get_args(kind), None, None)
    if origin in (Mapping, dict):
        ours = str(getattr(of[1], "__module__", "")).startswith("lse_vi.")
        return functools.partial(_check_mapping, of=check_of("", of[1]) if ours else None)
    if origin in (Sequence, list, tuple):
        entry = check_of("", of[0]) if of[0] in SEQUENCES else None
        return functools.partial(_check_sequence, entry=entry, of=SEQUENCES.get(of[0], ""))
    if origin is Any or origin in (object, type) or not isinstance(origin, type):
        return None
    if getattr(origin, "_is_protocol", False):
        members = [m for m in dir(origin) if not m.startswith("_")]
        expected = f"an object with {' and '.join(members or ['__call__'])}"
        return known(
            lambda value: (
                not isinstance(value, type)
                and all(hasattr(value, m) for m in members or ["__call__"])
            ),
            CALLED.get(origin.__name__, expected),
        )
    if origin is Path:
        return known(lambda value: isinstance(value, os.PathLike), "a path")
    expected = CALLED.get(origin.__name__, f"of type {origin.__name__}")
    return known(lambda value: isinstance(value, origin), expected)


def _is_function(value: Any) -> bool:
    """Whether ``value`` can be called with arguments of ours: the class of a module cannot."""
    return callable(value) and not (isinstance(value, type) and issubclass(value, nn.Module))


def _check_mapping(name: str, value: Any, of: Check | None) -> Any:
    """A mapping, whose values must pass ``of``."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, but got {shown(value)}")
    if of is not None:
        for key, one in value.items():
            of(f"{name}[{key!r}]", one)
    return value


def _check_sequence(name: str, value: Any, entry: Check | None, of: str) -> Any:
    """A sequence; a tuple of its entries, if these must pass ``entry``."""
    if not _is_sequence(value):
        raise TypeError(f"{name} must be a sequence{of}, but got {shown(value)}")
    if entry is None:
        return value
    listed = value.tolist() if hasattr(value, "tolist") else value
    return tuple(entry(name, one) for one in listed)


def _is_sequence(value: Any) -> bool:
    one = isinstance(value, (str, bytes, Mapping)) or getattr(value, "ndim", 1) == 0
    return isinstance(value, Iterable) and not one
