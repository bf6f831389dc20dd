"""The units of a potential's fit: a shift and a scale for each coordinate, and one height for E."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        origin: from which the points of the targets are counted, (dim,).
        offset, height: of the energy, (*batch,).
    """

    shift: Tensor
    scale: Tensor
    offset: Tensor
    height: Tensor
    origin: Tensor

    @property
    def place(self) -> Tensor:
        """What 0 is in the units of the user, (*batch, dim)."""
        return self.shift + self.origin

    def standardise(self, targets: Targets) -> Targets:
        """The targets of E_std, with weights that make errors shares of each target's spread."""
        value, gradient = targets.value, targets.gradient
        if value is not None:
            value = (value - self.offset) / self.height
        if gradient is not None:
            gradient = gradient * (self.scale / self.height.unsqueeze(-1))
        x = (targets.x - self.shift) / self.scale
        return replace(targets, x=x, value=value, gradient=gradient).in_shares()

    def apply_(self, pot: LSEICNN) -> None:
        """Convert a potential to standardised units, in place; :meth:`restore_` undoes it."""
        lead, own = pot.batch_shape, pot.units
        shift = ((own.shift - self.place) / self.scale).expand(*lead, pot.dim)
        scale = (own.scale / self.scale).expand(*lead, pot.dim)
        height = (own.height / self.height).expand(lead)
        offset = ((own.offset - self.offset) / self.height).expand(lead)
        period = own.period / self.scale
        own.set_(shift=0.0, scale=1.0, offset=0.0, height=1.0, period=period)
        pot.network.compose_affine_(shift.to(pot.alpha), scale.to(pot.alpha))
        pot.scale_energy_(height.to(pot.alpha))
        pot.add_offset_(offset.to(pot.alpha))

    def restore_(self, pot: LSEICNN) -> None:
        """Convert a potential from standardised units to those given, in place."""
        own = {"scale": self.scale, "offset": self.offset, "height": self.height}
        pot.units.set_(shift=self.place, **own, period=pot.units.period * self.scale)


def scaling_of(targets: Targets) -> Scaling:
    """Means and deviations of the points; the height from the values, or else the gradients."""
    shift, scale = targets.mean(targets.x), targets.variance(targets.x).sqrt()
    offset = torch.zeros_like(shift[..., 0])
    if targets.value is not None:
        offset, height = targets.mean(targets.value), targets.variance(targets.value).sqrt()
    else:
        assert targets.gradient is not None
        squares = (targets.gradient * scale).square()
        many = targets.worth is not None
        height = (targets.mean(squares).mean(-1) if many else squares.mean((0, -1))).sqrt()
    offset, height = offset.expand_as(height), spread_or_one(height)
    return Scaling(shift, scale, offset, height, targets.origin)


def no_scaling(targets: Targets) -> Scaling:
    """The identity: all stays in the units given."""
    zero, one = torch.zeros_like(targets.x[0]), torch.ones_like(targets.x[0])
    return Scaling(zero, one, zero[..., 0], one[..., 0], targets.origin)
