"""Supports that torch cannot map to the real line, taught to its registry of transforms."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributions import biject_to, constraints


def transform_of_mixture(constraint: Any) -> Any:
    """The transform to the support of a ``MixtureSameFamily``, that of its components.

    Raises:
        NotImplementedError: if the components have different supports.
    """
    base = constraint.base_constraint
    bounds = {name: value for name, value in vars(base).items() if isinstance(value, Tensor)}
    for name, value in bounds.items():
        if value.dim() and not bool((value == value.flatten()[0]).all()):
            raise NotImplementedError(
                "the components of a MixtureSameFamily have different supports "
                f"({name} {value.tolist()}); give them one, or write the mixture with a discrete "
                "site, which is summed out"
            )
    if bounds:
        base = type(base)(*(value.flatten()[0] for value in bounds.values()))
    return biject_to(base)


def check_support(name: str, site: Any) -> None:
    """The support of a latent site must be one that can be mapped to the real line."""
    try:
        biject_to(site["fn"].support)
    except NotImplementedError as error:
        raise ValueError(
            f"model: the support of site {name!r} cannot be mapped to the real line: {error}"
        ) from error


if (mixture := getattr(constraints, "MixtureSameFamilyConstraint", None)) is not None:
    biject_to.register(mixture, transform_of_mixture)
