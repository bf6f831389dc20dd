"""The latent sites of a model as one unconstrained vector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor
from torch.distributions import biject_to

from lse_vi.joint.effects import log_det_of, unconstrained_parts
from lse_vi.joint.plates import whole_plates
from lse_vi.joint.runs import Program
from lse_vi.joint.supports import OnCircles
from lse_vi.joint.torch_modes import FailedFactorsAreNaN
from lse_vi.random.turns import own_draws

PRIOR_DRAWS = 128  # which show the prior's median and spread, and from which ascents start
APART = 0.1  # between two vectors at which supports are compared; any step serves


def unconstrained(trace: Trace, names: Iterable[str]) -> Tensor:
    """The vector (dim,) of the sites ``names`` of a run, from the supports that they have in it."""
    return torch.cat([part.reshape(-1) for _, part in unconstrained_parts(trace, names)])


@torch.no_grad()
@own_draws()
def prior_draws(
    model: Callable[..., Any],
    names: list[str],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Tensor | None:
    """Draws of the unconstrained latents from the prior, (n, dim); None if it is improper."""
    draws = []
    try:
        for _ in range(PRIOR_DRAWS):
            quiet = pyro.validation_enabled(False)
            with poutine.block(), quiet, whole_plates(), FailedFactorsAreNaN():
                trace = poutine.trace(OnCircles()(model)).get_trace(*args, **kwargs)
            draws.append(unconstrained(trace, names))
    except NotImplementedError:
        return None
    return torch.stack(draws)


@torch.no_grad()
def supports_move(program: Program, z: Tensor) -> bool:
    """Whether the support of a latent site depends on other latents, judged near ``z`` (dim,)."""
    devices = [z.device] if z.is_cuda else []
    with torch.random.fork_rng(devices), pyro.validation_enabled(False), FailedFactorsAreNaN():
        return program.moves(torch.stack([z, z + APART]))


def still_values(unpack: Callable[[Tensor], Any], z: Tensor) -> dict[str, Tensor]:
    """Values of the sites (*lead, *shape) at vectors ``z`` (*lead, dim), in supports that stay."""
    program = Program(lambda: None, unpack, (), {})
    values = torch.vmap(program.still)(z.reshape(-1, z.shape[-1]))
    return {name: x.reshape((*z.shape[:-1], *x.shape[1:])) for name, x in values.items()}


def still_placed(
    unpacked: Iterable[tuple[Any, Tensor]],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Values of the sites and log |dx/dz| of each element, in supports that stay."""
    values, log_dets = {}, {}
    for site, part in unpacked:
        name, transform = site["name"], biject_to(site["fn"].support)
        values[name] = transform(part)
        log_dets[name] = log_det_of(transform, part, values[name], site.get("dead"))
    return values, log_dets


def checked_values(prototype: Trace, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The values of all latent sites, each (*lead, *shape).

    Raises:
        ValueError: if a site is missing, or of another shape.
    """
    checked = {}
    for name, site in prototype.iter_stochastic_nodes():
        if name not in values:
            raise ValueError(f"values: the model has a site {name!r}, but got {sorted(values)}")
        shape, value = site["value"].shape, torch.as_tensor(values[name])
        if value.shape[value.dim() - len(shape) :] != shape:
            raise ValueError(
                f"values: site {name!r} must have a shape that ends in {tuple(shape)}, but got "
                f"{tuple(value.shape)}"
            )
        checked[name] = value
    return checked


def still_vectors(prototype: Trace, values: Mapping[str, Tensor]) -> Tensor:
    """The vectors (*lead, dim) at values (*lead, *shape) of the sites, in supports that stay."""
    parts = []
    for name, site in prototype.iter_stochastic_nodes():
        lead = values[name].shape[: values[name].dim() - site["value"].dim()]
        parts.append(biject_to(site["fn"].support).inv(values[name]).reshape(*lead, -1))
    return torch.cat(parts, -1)
