"""Changes of a potential in place: an offset, a factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lse_vi.checks import check_finite
from lse_vi.numerics.arrays import as_floats

if TYPE_CHECKING:
    from lse_vi.network.potential import LSEICNN


@torch.no_grad()
def add_offset(pot: LSEICNN, offset: Any) -> None:
    """See :meth:`LSEICNN.add_offset_`."""
    added = _per_potential(pot, "offset", offset)
    if pot.units.plain:
        pot.network.add_offset_(added.to(pot.alpha.dtype).unsqueeze(-1))
    else:
        pot.units.set_(offset=pot.units.offset + added)


@torch.no_grad()
def scale_energy(pot: LSEICNN, factor: Any) -> None:
    """See :meth:`LSEICNN.scale_energy_`."""
    scale = _per_potential(pot, "factor", factor)
    if not bool((scale > 0).all()):
        raise ValueError(f"factor must be positive, but got {scale.tolist()}")
    if pot.units.plain:
        scale = scale.to(pot.alpha.dtype)
        pot.network.scale_output_(scale)
        pot.log_rho.sub_(scale.log())
    else:
        pot.units.set_(height=scale * pot.units.height, offset=scale * pot.units.offset)


def _per_potential(pot: LSEICNN, name: str, value: Any) -> Tensor:
    """A finite number for each potential of the batch, (*batch,)."""
    numbers = as_floats(name, value).to(pot.alpha.device)
    try:
        numbers = numbers.expand(pot.batch_shape)
    except RuntimeError as error:
        raise ValueError(
            f"{name} must be a number, or one for each potential of batch_shape "
            f"{tuple(pot.batch_shape)}, but got shape {tuple(numbers.shape)}"
        ) from error
    check_finite(name, numbers)
    return numbers
