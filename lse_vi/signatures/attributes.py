"""Attributes that the results of others have: who reads theirs is told ours."""

from __future__ import annotations

from collections.abc import Mapping


def no_attribute(owner: object, name: str, ours: Mapping[str, str]) -> AttributeError:
    """The error for an attribute that is not there, to be raised by ``__getattr__``.

    Args:
        owner: that has no ``name``.
        name: of the attribute.
        ours: what to do instead, by the name that others use.

    Example:
        >>> no_attribute(1, "means", {"means": "read mode_locations"})
        AttributeError('int has no means; read mode_locations')
    """
    kind = type(owner).__name__
    if name in ours:
        return AttributeError(f"{kind} has no {name}; {ours[name]}")
    return AttributeError(f"{kind!r} object has no attribute {name!r}")
