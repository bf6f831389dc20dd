"""The units of a potential's fit: a shift and a scale for each coordinate, and one height for E."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lse_vi.network.potential import LSEICNN
from lse_vi.potentials.targets import Targets, spread_or_one


@dataclass(frozen=True)
class Scaling:
    """The map between standardised units and those given.

    E(x) = offset + height * E_std((x - shift) / scale). Values and gradients share the one height:
    with two heights, the gradient would no longer be that of the potential.

    Attributes:
        shift, scale: of the points, (*batch, dim).
        offset, height: of the energy, (*batch,).
    """

    shift: Tensor
    scale: Tensor
    offset: Tensor
    height: Tensor

    def standardise(self, targets: Targets) -> Targets:
        """The targets of E_std, with weights that make errors shares of each target's spread."""
        value, gradient = targets.value, targets.gradient
        if value is not None:
            value = (value - self.offset) / self.height
        if gradient is not None:
            gradient = gradient * (self.scale / self.height.unsqueeze(-1))
        x = (targets.x - self.shift) / self.scale
        weights = targets.value_weight, targets.gradient_weight
        return Targets(x, value, gradient, *weights).in_shares()

    def apply_(self, pot: LSEICNN) -> None:
        """Convert a potential to standardised units, in place; :meth:`restore_` undoes it."""
        lead, own = pot.batch_shape, pot.units
        shift = ((own.shift - self.shift) / self.scale).expand(*lead, pot.dim)
        scale = (own.scale / self.scale).expand(*lead, pot.dim)
        height = (own.height / self.height).expand(lead)
        offset = ((own.offset - self.offset) / self.height).expand(lead)
        own.set_(shift=0.0, scale=1.0, offset=0.0, height=1.0)
        pot.network.compose_affine_(shift.to(pot.alpha), scale.to(pot.alpha))
        pot.scale_energy_(height.to(pot.alpha))
        pot.add_offset_(offset.to(pot.alpha))

    def restore_(self, pot: LSEICNN) -> None:
        """Convert a potential from standardised units to those given, in place."""
        pot.units.set_(**vars(self))


def scaling_of(targets: Targets) -> Scaling:
    """Means and deviations of the points; the height from the values, or else the gradients."""
    shift, scale = targets.x.mean(0), targets.x.std(0)
    offset = torch.zeros_like(shift[..., 0])
    if targets.value is not None:
        offset, height = targets.value.mean(0), targets.value.std(0)
    else:
        assert targets.gradient is not None
        height = (targets.gradient * scale).square().mean((0, -1)).sqrt()
    return Scaling(shift, scale, offset.expand_as(height), spread_or_one(height))


def no_scaling(targets: Targets) -> Scaling:
    """The identity: all stays in the units given."""
    zero, one = torch.zeros_like(targets.x[0]), torch.ones_like(targets.x[0])
    return Scaling(zero, one, zero[..., 0], one[..., 0])
