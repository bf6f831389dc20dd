"""Keywords of a call that takes the arguments of a Pyro model along with its own settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pyro.poutine.messenger import Messenger
from torch import nn

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")
# Kinds of arguments that can be given by name.
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def settle(
    name: str,
    kind: type[Settings],
    given: Settings | None,
    model: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> tuple[Settings, dict[str, Any]]:
    """The settings of a call, and the keywords that remain for its model.

    Use it in a function with the signature ``f(model, *args, recipe=None, **kwargs)``. A keyword
    with the name of a setting is a setting, unless the model has an argument of that name that
    ``args`` does not give: then it goes to the model. So every argument of a model can be given.

    Args:
        name: of the argument that holds all settings as one object, for the error.
        kind: the dataclass of the settings.
        given: the value of that argument; None for the defaults.
        model: the model of the call.
        args: its arguments by position.
        kwargs: all keywords of the call.

    Raises:
        TypeError: for settings that are no ``kind``.

    Example:
        >>> from lse_vi.fitting.recipe import Recipe
        >>> def model(y, seed): ...
        >>> recipe = Recipe(steps=10, learning_rate=0.1)
        >>> recipe, own = settle(
        ...     "recipe", Recipe, recipe, model, (1.0,), {"seed": 3, "steps": 100}
        ... )
        >>> recipe.steps, recipe.seed, own
        (100, 0, {'seed': 3})
    """
    if given is not None and not isinstance(given, kind):
        raise TypeError(
            f"{name} must be of {kind.__name__}, but got {given!r}; an argument of the model that "
            "has this name can be given by its position"
        )
    free = argument_names(model)[len(args) :]
    names = {field.name for field in fields(kind)} - set(free)
    ours = {key: value for key, value in kwargs.items() if key in names}
    settings = replace(given, **ours) if given is not None else kind(**ours)
    return settings, {key: value for key, value in kwargs.items() if key not in names}


def argument_names(model: Callable[..., Any]) -> list[str]:
    """Names of the arguments that ``model`` takes by name, in order.

    Modules, handlers of ``pyro.poutine`` and ``functools.partial`` are looked through; arguments
    that a partial has bound are left out.

    Example:
        >>> argument_names(partial(lambda x, y, *rest, z: None, 1.0))
        ['y', 'z']
    """
    if isinstance(model, nn.Module):
        return argument_names(model.forward)
    if isinstance(model, partial):
        if model.args and isinstance(model.args[0], Messenger):  # a poutine handler of a model
            return argument_names(model.args[1])
        free = argument_names(model.func)[len(model.args) :]
        return [name for name in free if name not in model.keywords]
    try:
        parameters = inspect.signature(model).parameters.values()
    except (TypeError, ValueError):  # functions written in C may have no signature
        return []
    return [p.name for p in parameters if p.kind in BY_NAME]
