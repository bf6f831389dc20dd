r"""The units of a potential: what its network calls one, in double precision for any network.

.. math:: E(x) = o + h \, E_0\big((x - s)/c\big)

A network in single precision knows seven digits. Energies near -40,000 and points near a million
use them up, so offsets and scales are kept beside it: differences and derivatives of E then have
all digits of E_0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lse_vi.network.circle import wrapped


class Units(nn.Module):
    """Shift s and scale c of x, (*batch, dim); offset o and height h of E, (*batch,).

    The period of x is among them. Its buffer ``lap``, (*batch, dim), is 0 where x is not periodic,
    so that a saved state is finite.

    Attributes:
        plain: whether they change nothing, as they do until they are set.
        turn: the period in the network's units, (dim,) if it is that of the whole batch; None if
            no coordinate is periodic.

    Example:
        >>> units = Units(1, ())
        >>> units.set_(shift=1e6, scale=2.0, offset=-4e4, height=1e-3)
        >>> units.to_network(torch.tensor([1e6 + 1.0], dtype=torch.float64))
        tensor([0.5000], dtype=torch.float64)
    """

    shift: Tensor
    scale: Tensor
    offset: Tensor
    height: Tensor
    lap: Tensor

    def __init__(
        self, dim: int, batch_shape: Sequence[int], device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        like: dict[str, Any] = {"dtype": torch.float64, "device": device}
        self.register_buffer("shift", torch.zeros(*batch_shape, dim, **like))
        self.register_buffer("scale", torch.ones(*batch_shape, dim, **like))
        self.register_buffer("offset", torch.zeros(tuple(batch_shape), **like))
        self.register_buffer("height", torch.ones(tuple(batch_shape), **like))
        self.register_buffer("lap", torch.zeros(*batch_shape, dim, **like))
        self.plain = True
        self.turn: Tensor | None = None

    def set_(self, **values: Any) -> None:
        """Replace some of shift, scale, offset, height and period, in place, each broadcast."""
        if "period" in values:
            period = torch.as_tensor(values.pop("period"))
            values["lap"] = torch.where(period.isfinite(), period, 0.0)
        for name, value in values.items():
            own = getattr(self, name)
            own.copy_(torch.as_tensor(value).to(own).expand_as(own))
        self._look()

    @property
    def period(self) -> Tensor:
        """The period of x, (*batch, dim), infinite where x is not periodic."""
        return torch.where(self.lap > 0, self.lap, torch.inf)

    def to_network(self, x: Tensor) -> Tensor:
        """(x - s)/c in double precision: (*sample, *batch, dim) -> the same."""
        return (x.double() - self.shift) / self.scale

    def around(self, u: Tensor) -> Tensor:
        """Points of the network modulo their period, in double precision where there is one."""
        return u if self.turn is None else wrapped(u.double(), self.turn.to(u.device))

    def energies(self, network: Tensor, dtype: torch.dtype) -> Tensor:
        """o + h E_0 for values E_0 (*sample, *batch) of the network, in the type ``dtype``."""
        return network if self.plain else (self.offset + self.height * network.double()).to(dtype)

    def slopes(self, network: Tensor, dtype: torch.dtype) -> Tensor:
        """(h/c) grad E_0 for slopes (*sample, *batch, dim) of the network, in ``dtype``."""
        if self.plain:
            return network
        return (self.height.unsqueeze(-1) / self.scale * network.double()).to(dtype)

    def restore(self, points: Tensor, energies: Tensor) -> tuple[Tensor, Tensor]:
        """Points (m, dim) and energies (m,) of the network in the units of x and E."""
        x = self.shift + self.scale * points.double()
        return x, self.energies(energies, torch.float64)

    def _look(self) -> None:
        turn = self.period / self.scale
        flat = turn.reshape(-1, turn.shape[-1])
        turn = flat[0] if bool((flat == flat[0]).all()) else turn
        self.turn = turn if bool(turn.isfinite().any()) else None
        self.plain = not bool(
            self.shift.any()
            | (self.scale != 1).any()
            | self.offset.any()
            | (self.height != 1).any()
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Units:
        # Moves to another device, never to another type: module.float() would lose the digits.
        for name, buffer in self._buffers.items():
            assert buffer is not None
            self._buffers[name] = buffer.to(fn(buffer).device)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._look()
