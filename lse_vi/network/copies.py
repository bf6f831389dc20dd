"""What is made from a potential: copies with fewer modes or other units, and its wells."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lse_vi.checks import check_finite, shown
from lse_vi.network.circle import apart, wrapped
from lse_vi.network.gates import CLOSED
from lse_vi.network.icnn import in_units
from lse_vi.network.units import Units
from lse_vi.numerics.minima import Minima, distinct, find_minima, spread_of

if TYPE_CHECKING:
    from lse_vi.network.potential import LSEICNN


def prune(pot: LSEICNN, keep: Any) -> LSEICNN:
    """See :meth:`LSEICNN.prune`."""
    try:
        keep = torch.as_tensor(keep, device=pot.alpha.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"keep must be a boolean mask, but got {shown(keep)}") from error
    mask = keep.dtype == torch.bool and keep.shape == pot.alpha.shape
    if not mask or not bool(keep.any(-1).all()):
        raise ValueError(
            f"keep must be a boolean mask of shape {tuple(pot.alpha.shape)} with at least one "
            f"mode kept, but got {keep.tolist()}"
        )
    most = int(keep.sum(-1).max())
    order = (~keep).to(torch.int8).argsort(dim=-1, stable=True)[..., :most]
    kept = keep.gather(-1, order)
    # A spare mode is one that is kept with a closed gate: below it everywhere, however far out.
    order = torch.where(kept, order, order[..., :1])
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
        small.alpha.copy_(torch.where(kept, take(pot.alpha), CLOSED))
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
    plain = with_units(plain, period=units.period)  # which is that of x again
    network = in_units(plain.network, units.shift, units.scale, units.offset, height)
    tensors = {f"network.{name}": p for name, p in network.items()}
    return plain.with_parameters(tensors | {"log_rho": plain.log_rho - height.log()})


def content_of(pot: LSEICNN) -> dict[str, Any]:
    """What a file holds: the arguments that make a potential like this one, and its tensors."""
    config = {
        "dim": pot.dim,
        "modes": pot.modes,
        "hidden": list(pot.hidden),
        "batch_shape": list(pot.batch_shape),
        "network": type(pot.network).__name__,
        "dtype": str(pot.alpha.dtype).removeprefix("torch."),
    }
    frozen = [name for name, p in pot.named_parameters() if not p.requires_grad]
    return {"config": config, "state": pot.state_dict(), "frozen": frozen}


def select(pot: LSEICNN, index: tuple[int, ...]) -> LSEICNN:
    """See :meth:`LSEICNN.select`."""
    single = pot.blank(pot.modes, pot.alpha[index].shape[:-1])
    single.load_state_dict({name: p[index].clone() for name, p in pot.state_dict().items()})
    return single


@torch.no_grad()
def resized(pot: LSEICNN, modes: int, batch_shape: Sequence[int] | None) -> LSEICNN:
    """See :meth:`LSEICNN.resized`."""
    one = pot.blank(modes, batch_shape)
    batch, wide = tuple(pot.batch_shape), tuple(one.batch_shape)
    if modes > pot.modes or wide[max(len(wide) - len(batch), 0) :] != batch:
        raise ValueError(
            f"modes must be at most {pot.modes} and batch_shape must end in {batch}, but got "
            f"{modes} and {wide}"
        )
    one.log_rho.copy_(pot.log_rho)
    one.alpha.copy_(pot.alpha[..., :modes])
    for own, model in zip(one.parameters(), pot.parameters(), strict=True):
        own.requires_grad_(model.requires_grad)
    return one


def hand_on_period(pot: LSEICNN, one: LSEICNN) -> None:
    """Give ``one`` the period of ``pot``, if it has one and the batch of ``one`` is as deep."""
    period, batch = pot.units.period, one.units.period.shape[:-1]
    if not bool(period.isfinite().any()) or period.dim() > len(batch) + 1:
        return
    own = period.shape[:-1]
    if any(a not in (1, b) for a, b in zip(reversed(own), reversed(batch), strict=False)):
        raise ValueError(
            f"batch_shape must end in {tuple(own)}, that of the period, but got {tuple(batch)}"
        )
    one.units.set_(period=period)


def with_units(pot: LSEICNN, **values: Tensor) -> LSEICNN:
    """``pot`` with units of its own, sharing its parameters."""
    other = copy.copy(pot)
    units = Units(pot.dim, pot.batch_shape, pot.alpha.device)
    units.set_(**values)
    other._modules = {**pot._modules, "units": units}
    return other


def minima(pot: LSEICNN, starts: Tensor, separation: float) -> Minima:
    """See :meth:`LSEICNN.minima`."""
    if pot.batch_shape:
        raise ValueError(
            f"minima needs a single potential, but batch_shape is {tuple(pot.batch_shape)}; "
            "use pot.select(index).minima(...)"
        )
    check_finite("starts", starts)
    plain, u = pot.without_units(), starts
    if not pot.units.plain:
        u = pot.units.to_network(starts).to(pot.alpha.dtype)
    found = find_minima(plain, plain.gradient, plain.hessian, u, separation=separation)
    if plain.units.turn is not None:
        turn = plain.units.turn.to(u)
        points = wrapped(found.points, turn, u.amin(0))
        around = partial(apart, period=turn)
        kept = distinct(points, found.energies, separation * spread_of(u), around)
        found = Minima(points[kept], found.energies[kept])
    return found if pot.units.plain else Minima(*pot.units.restore(*found))
