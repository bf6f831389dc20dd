"""The decorator that holds arguments to their annotations."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lse_vi.checks import shown
from lse_vi.signatures.kinds import Check, check_of, is_union

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
# What other libraries call our arguments: who tries theirs is told ours.
ELSEWHERE = {
    "n_components": "modes", "n_modes": "modes", "num_modes": "modes", "random_state": "seed",
    "rng": "seed", "n_init": "restarts", "max_iter": "steps", "n_iter": "steps", "epochs": "steps",
    "num_steps": "steps", "lr": "learning_rate", "sample_weight": "weights",
    "num_samples": "draws", "n_samples": "draws", "num_chains": "chains",
    "warmup_steps": "warmup", "verbose": "progress", "hidden_layer_sizes": "hidden", "X": "x",
}  # fmt: skip

# What a function cannot do, although others of ours do: who asks for it is told what to do.
NOT_YET = {
    "by": "it fits one group; take one after another, as in {name: count_modes(own) for name, own "
    "in table.groupby(...)}, or use lse-vi modes --by in a terminal",
    "period": "it integrates over all of space; use fit_density(x, period=...), or cut the circle "
    "where no points are and leave period out",
}
OPEN_ONLY = ("count_modes", "fit_posterior", "BayesianDensity")


def checked(function: Decorated) -> Decorated:
    """Decorator: each argument must be of the kind that its annotation says.

    Use it on every public function, method and constructor (for a dataclass, on the class). Numbers
    arrive as ``int`` and ``float``, whatever type of NumPy or torch was given. ``Any`` is not
    checked. Types must be imported, and not for type checkers only.

    Raises:
        TypeError: by the decorated function, for an argument of another kind, or for a keyword by
            which other libraries call one of its arguments.

    Example:
        >>> from torch import Tensor
        >>> @checked
        ... def half(x: Tensor, *, seed: int = 0) -> Tensor: ...
        >>> half("a")
        Traceback (most recent call last):
        TypeError: x must be a tensor, but got str; torch.as_tensor(...) makes one
    """
    if isinstance(function, type):
        # A dataclass takes arguments over from its bases, with names of the modules of these.
        homes = [vars(sys.modules[base.__module__]) for base in function.__mro__]
        function.__init__ = _wrapped(function.__init__, ChainMap(*homes))  # type: ignore[misc]
        return function
    return _wrapped(function, inspect.unwrap(function).__globals__)


def _wrapped(function: Decorated, names: Mapping[str, Any]) -> Decorated:
    """``function`` with checks before it; its annotations use ``names``."""
    known: list[tuple[list[str], dict[str, Check]]] = []  # at the first call: names exist by then
    checks_of, apply = _checks_of, _apply

    def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        if not known:
            known.append(checks_of(function, names))
        given = apply(function, *known[0], args, kwargs)
        return function(*given, **kwargs)

    # With the globals of the function, by which doctest knows to which module it belongs.
    home, around = inspect.unwrap(function).__globals__, wrapper.__closure__
    inner = types.FunctionType(wrapper.__code__, home, function.__name__, None, around)
    return functools.update_wrapper(inner, function)  # type: ignore[return-value]


def _checks_of(
    function: Callable[..., Any], names: Mapping[str, Any]
) -> tuple[list[str], dict[str, Check]]:
    """Names of the arguments in order, and the checks of those that have one.

    ``names`` are those that annotations may use.
    """
    parameters = inspect.signature(function).parameters.values()
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    checks: dict[str, Check] = {}
    for p in parameters:
        unknown = p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.annotation is p.empty
        kind = Any if unknown else p.annotation
        if isinstance(kind, str):
            kind = eval(kind, {}, names)
        options = list(typing.get_args(kind)) if is_union(kind) else [kind]
        options.sort(key=lambda one: one not in (None, type(None)))  # None comes first
        found = [check for one in options if (check := check_of(p.name, one)) is not None]
        if len(found) == len(options):
            checks[p.name] = functools.partial(_any_of, checks=found)
    return [p.name for p in parameters if p.kind in by_place], checks


def _apply(
    function: Callable[..., Any],
    places: list[str],
    checks: dict[str, Check],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[Any]:
    """The arguments by position, checked; those by name are changed in place."""
    given = list(args)
    for i, (name, value) in enumerate(zip(places, args, strict=False)):
        if name in checks:
            given[i] = checks[name](name, value)
    for name, value in kwargs.items():
        if name in checks:
            kwargs[name] = checks[name](name, value)
        elif (ours := ELSEWHERE.get(name)) is not None:
            known = inspect.signature(function).parameters
            if ours in known and name not in known and not _takes_any(function):
                raise TypeError(
                    f"{function.__name__} has no argument {name}; here it is called {ours}"
                )
        elif name in NOT_YET and function.__qualname__.partition(".")[0] in OPEN_ONLY:
            raise TypeError(f"{name}: {function.__qualname__} takes none, as {NOT_YET[name]}")
    return given


def _takes_any(function: Callable[..., Any]) -> bool:
    """Whether it has ``**kwargs``."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def _any_of(name: str, value: Any, checks: list[Check]) -> Any:
    """``value`` by the first check that it passes."""
    expected = []
    for check in checks:
        try:
            return check(name, value)
        except TypeError as error:
            if len(checks) == 1:
                raise
            expected.append(str(error).removeprefix(f"{name} must be ").partition(", but got")[0])
    some = " or ".join(one for one in dict.fromkeys(expected) if one != "None")
    raise TypeError(f"{name} must be {some}, but got {shown(value)}")
