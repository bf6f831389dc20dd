"""Masked entries of latent sites on which nothing depends: they are no latents.

``pyro.sample(..., obs=y, obs_mask=seen)`` makes a latent site of the shape of all data, masked
where these were seen. There its values change nothing, so they have no posterior. A masked entry
that a factor depends on is a latent with a flat prior, as always.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyro
import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from lse_vi.joint.refusals import masks_of
from lse_vi.joint.runs import Program

PROBES = 3  # vectors at which the gradient of an entry must be exactly zero
STEP = (
    0.3  # times a golden ratio's multiples: a step of each coordinate from one vector to the next
)


class Free(NamedTuple):
    """Which coordinates of the vector of all latents are free; the others rest at zero.

    Attributes:
        kept: indices of the free ones, (dim,).
        order: puts (free, resting) coordinates into the order of all, (all,).
    """

    kept: Tensor
    order: Tensor

    @classmethod
    def of(cls, dead: Tensor) -> Free:
        """All but ``dead`` (all,) of the coordinates."""
        kept, rest = (~dead).nonzero().squeeze(1), dead.nonzero().squeeze(1)
        return cls(kept, torch.cat([kept, rest]).argsort())

    def whole(self, z: Tensor) -> Tensor:
        """The vectors (*lead, all) with free coordinates ``z`` (*lead, dim)."""
        resting = z.new_zeros(*z.shape[:-1], len(self.order) - len(self.kept))
        return torch.cat([z, resting], -1).index_select(-1, self.order.to(z.device))


def dead_entries(program: Program, start: Tensor, prototype: Trace) -> Tensor:
    """Which coordinates (all,) are masked and change nothing, judged by gradients of log p.

    Also tells each site of ``prototype`` its own, as ``site["dead"]``.

    Args:
        program: runs the model at vectors of all latents.
        start: such a vector, (all,).
        prototype: a run of the model.
    """
    dead = torch.zeros_like(start, dtype=torch.bool)
    masked = [name for name, site in prototype.iter_stochastic_nodes() if is_masked(site)]
    if not masked:
        return dead
    flat = torch.ones_like(dead)
    golden = torch.arange(1, len(start) + 1).to(start) * 0.618034 % 1 + 0.5
    for i in range(PROBES):
        flat &= _gradient(program, start + i * STEP * golden) == 0
    position = 0
    for site, part in program.unpack(start):
        own = slice(position, position + part.numel())
        if site["name"] in masked:
            dead[own] = flat[own]
            site["dead"] = dead[own].reshape(part.shape)
        position += part.numel()
    return dead


def is_masked(site: Any) -> bool:
    """Whether any entry of a latent site is masked, by a handler or by its distribution."""
    return not all(bool(mask.all()) for mask in masks_of(site))


def _gradient(program: Program, z: Tensor) -> Tensor:
    """The gradient of log p, without Jacobians, at one vector (all,)."""
    with torch.enable_grad(), torch.random.fork_rng([z.device] if z.is_cuda else []):
        with pyro.validation_enabled(False):
            z = z.detach().requires_grad_()
            log_p = program.log_p(program.place(z))
        if not log_p.requires_grad:
            return torch.zeros_like(z)
        (gradient,) = torch.autograd.grad(log_p, z, allow_unused=True)
    return torch.zeros_like(z) if gradient is None else gradient
