"""Copies of a potential that stand for the same E: with fewer modes, or with no units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lse_vi.network.gates import CLOSED
from lse_vi.network.icnn import in_units

if TYPE_CHECKING:
    from lse_vi.network.potential import LSEICNN


def prune(pot: LSEICNN, keep: Tensor) -> LSEICNN:
    """See :meth:`LSEICNN.prune`."""
    mask = keep.dtype == torch.bool and keep.shape == pot.alpha.shape
    if not mask or not bool(keep.any(-1).all()):
        raise ValueError(
            f"keep must be a boolean mask of shape {tuple(pot.alpha.shape)} with at least one "
            f"mode kept, but got {keep.tolist()}"
        )
    most = int(keep.sum(-1).max())
    order = (~keep).to(torch.int8).argsort(dim=-1, stable=True)[..., :most]
    depth = len(pot.batch_shape)

    def take(p: Tensor) -> Tensor:
        index = order.reshape(order.shape + (1,) * (p.dim() - depth - 1))
        return torch.take_along_dim(p.detach(), index, dim=depth).clone()

    small = pot.blank(most)
    with torch.no_grad():
        for target, source in zip(
            small.network.parameters(), pot.network.parameters(), strict=True
        ):
            target.copy_(take(source))
        small.alpha.copy_(torch.where(keep.gather(-1, order), take(pot.alpha), CLOSED))
        small.log_rho.copy_(pot.log_rho)
        # E has a mean over K modes: with fewer in it, log(K / fewer) / rho keeps E.
        small.add_offset_(math.log(pot.modes / most) / small.rho)
        small.units.set_(**pot.units.state_dict())
    return small


def absorb_units(pot: LSEICNN) -> LSEICNN:
    """See :meth:`LSEICNN.absorbed`."""
    units, height = pot.units, pot.units.height.expand(pot.batch_shape)
    plain = pot.without_units()
    plain = plain.with_parameters({name: p.double() for name, p in plain.named_parameters()})
    network = in_units(plain.network, units.shift, units.scale, units.offset, height)
    tensors = {f"network.{name}": p for name, p in network.items()}
    return plain.with_parameters(tensors | {"log_rho": plain.log_rho - height.log()})
