"""Effects on a run of a model: its latent sites take their values from a vector, or give one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from torch import Tensor
from torch.distributions import biject_to


class Placed(Messenger):
    """Latent sites take unconstrained values, each mapped to the support that it has in this run.

    A support may depend on sites before it, as that of ``Uniform(0, 1 - a)`` does.

    Args:
        parts: the unconstrained value of each latent site, by name.
        dead: entries of these that are no latents, of the same shape from the right; their Jacobian
            does not count.

    Attributes:
        values: of the sites met so far, in their supports.
        log_dets: log |dx/dz| of each, for each element.

    Raises:
        ValueError: if a support depends on a discrete site that is summed out.

    Example:
        >>> import pyro, torch, pyro.distributions as dist
        >>> def model():
        ...     a = pyro.sample("a", dist.Uniform(0.0, 1.0))
        ...     return pyro.sample("b", dist.Uniform(0.0, 1 - a))
        >>> with Placed({"a": torch.zeros(()), "b": torch.zeros(())}):
        ...     b = model()
        >>> float(b)
        0.25
    """

    def __init__(
        self, parts: Mapping[str, Tensor], dead: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.parts, self.dead = parts, dead or {}
        self.values: dict[str, Tensor] = {}
        self.log_dets: dict[str, Tensor] = {}

    def _pyro_sample(self, msg: Any) -> None:
        name = msg["name"]
        if name not in self.parts or msg["is_observed"]:
            return
        part = self.parts[name]
        transform = biject_to(msg["fn"].support)
        value = transform(part)
        if value.dim() > part.dim() - _more_dims(transform):
            raise ValueError(
                f"model: the support of site {name!r} depends on a discrete site, which is summed "
                "out; write the site as a fixed law, moved and scaled by the discrete site"
            )
        self.values[name] = value
        self.log_dets[name] = log_det_of(transform, part, value, self.dead.get(name))
        msg["value"], msg["is_observed"] = value, True


class Unplaced(Messenger):
    """Latent sites take given values; ``parts`` collects these in unconstrained coordinates.

    Args:
        values: of each latent site, by name.
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values = values
        self.parts: dict[str, Tensor] = {}

    def _pyro_sample(self, msg: Any) -> None:
        name = msg["name"]
        if name not in self.values or msg["is_observed"]:
            return
        value = self.values[name]
        self.parts[name] = biject_to(msg["fn"].support).inv(value)
        msg["value"], msg["is_observed"] = value, True


def unconstrained_parts(trace: Trace, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
    """The unconstrained value of each of the sites of a run, from the support that it has there."""
    for name in names:
        site = trace.nodes[name]
        yield name, biject_to(site["fn"].support).inv(site["value"])


def log_det_of(transform: Any, part: Tensor, value: Tensor, dead: Tensor | None) -> Tensor:
    """log |dx/dz| of each element, 0 where all entries of an element are ``dead``, no latents."""
    log_det: Tensor = transform.log_abs_det_jacobian(part, value)
    if dead is None:
        return log_det
    for _ in range(transform.domain.event_dim):
        dead = dead.all(-1)
    return torch.where(dead, 0.0, log_det)


def _more_dims(transform: Any) -> int:
    """How many event dimensions unconstrained values have more than those in the support."""
    return int(transform.domain.event_dim - transform.codomain.event_dim)
