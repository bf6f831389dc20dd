"""The units of a fit of a potential: one shift and scale for x, one height for E."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lse_vi.network.potential import LSEICNN
from lse_vi.potentials.targets import Targets, spread_or_one


@dataclass(frozen=True)
class Scaling:
    """E(x) = offset + height * E_std((x - shift) / scale): one potential scale, no more.

    ``shift``, ``scale`` are (*batch, dim), ``offset`` and ``height`` (*batch,). Targets of
    several kinds share the one height, or the gradient would no longer be that of the potential.
    """

    shift: Tensor
    scale: Tensor
    offset: Tensor
    height: Tensor

    def standardise(self, targets: Targets) -> Targets:
        """Targets for E_std; the weights turn errors into shares of each target's spread."""
        value, gradient = targets.value, targets.gradient
        if value is not None:
            value = (value - self.offset) / self.height
        if gradient is not None:
            gradient = gradient * (self.scale / self.height.unsqueeze(-1))
        x = (targets.x - self.shift) / self.scale
        weights = targets.value_weight, targets.gradient_weight
        return Targets(x, value, gradient, *weights).in_shares()

    def apply_(self, pot: LSEICNN) -> None:
        """Bring a potential to the standardised units, in place; undone by :meth:`restore_`."""
        lead = pot.batch_shape
        pot.add_offset_(-self.offset.expand(lead))
        pot.scale_energy_(1 / self.height.expand(lead))
        shift, scale = -self.shift / self.scale, 1 / self.scale
        pot.network.compose_affine_(shift.expand(*lead, pot.dim), scale.expand(*lead, pot.dim))

    def restore_(self, pot: LSEICNN) -> None:
        """Bring a potential that was fitted to standardised targets to their units, in place."""
        lead = pot.batch_shape
        pot.network.compose_affine_(
            self.shift.expand(*lead, pot.dim), self.scale.expand(*lead, pot.dim)
        )
        pot.scale_energy_(self.height.expand(lead))
        pot.add_offset_(self.offset.expand(lead))


def scaling_of(targets: Targets) -> Scaling:
    """Means and deviations of the points; height by the values, else by the gradients."""
    shift, scale = targets.x.mean(0), targets.x.std(0)
    offset = torch.zeros_like(shift[..., 0])
    if targets.value is not None:
        offset, height = targets.value.mean(0), targets.value.std(0)
    else:
        assert targets.gradient is not None
        height = (targets.gradient * scale).square().mean((0, -1)).sqrt()
    return Scaling(shift, scale, offset.expand_as(height), spread_or_one(height))


def no_scaling(targets: Targets) -> Scaling:
    """Leave everything in the units given."""
    zero, one = torch.zeros_like(targets.x[0]), torch.ones_like(targets.x[0])
    return Scaling(zero, one, zero[..., 0], one[..., 0])
