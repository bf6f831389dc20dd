"""Networks of the rate of the internal states: dh/ds from what drives them and from h."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from lse_vi.checks import check_count, check_counts
from lse_vi.materials.invariants import Invariants


class Rate(nn.Module):
    r"""The paper's rate network (Eq. 30): dh/ds = NN(features, h), tanh between its layers.

    The features are the invariants of strain and rate. The part of the first layer that reads them
    is :meth:`drive`: it needs no states, so it is worked out for all times at once.

    Args:
        features: number of features, ``rate_dim`` of the invariants.
        states: number of internal states.
        hidden: widths of the hidden layers.

    Raises:
        ValueError: for no hidden layer, or a number below 1.

    Example:
        >>> rate = Rate(9, 6)
        >>> drive = rate.drive(torch.zeros(100, 9))
        >>> rate(torch.zeros(100, 6), drive).shape
        torch.Size([100, 6])
    """

    def __init__(
        self,
        features: int,
        states: int,
        *,
        hidden: Sequence[int] = (15, 15),
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.features = check_count("features", features)
        self.states = check_count("states", states)
        self.trunk = _Trunk(features, states, check_counts("hidden", hidden), torch.tanh, dtype)
        self.head = nn.Linear(self.trunk.width, states, dtype=dtype)

    def read(self, invariants: Invariants, strain: Tensor, rate: Tensor) -> Tensor:
        """The features, of strain and rate: two (*shape, *event) -> (*shape, rate_dim)."""
        return invariants.with_rate(strain, rate)

    def drive(self, features: Tensor) -> Tensor:
        """(*shape, features) -> (*shape, first width)."""
        return self.trunk.features(features)

    def forward(self, h: Tensor, drive: Tensor) -> Tensor:
        """dh/ds: (*shape, states)."""
        return self.head(self.trunk(h, drive))


class RelaxationRate(nn.Module):
    r"""A network that pulls each state into an interval, within which it rests.

    .. math:: dh/ds = a\, \big(\mathrm{clip}(h, b - w, b + w) - h\big), \qquad a, w \ge 0

    The speed a, the middle b and the half-width w are networks of the features and h. Within the
    interval the rate is zero, not nearly zero: that is an elastic range, and the ends of the
    interval, which move as the strain does, are where the material yields (w = 0 is relaxation to
    b, a viscous material). A plain network would have to learn a rest, and a balance of inflow and
    outflow on a plateau, by itself, and does so slowly; and this form can be stepped with any a,
    see :class:`Exponential`.

    The features are the invariants of strain alone. What yields depends on where the material is,
    not on where it goes: a range that knew the direction of the path could let a state creep along
    with small loops, a little further each time.

    Args:
        features: number of features, ``dim`` of the invariants.
        states, hidden: as for :class:`Rate`.

    Raises:
        ValueError: as :class:`Rate`.

    Example:
        >>> rate = RelaxationRate(3, 2)
        >>> a, nearest = rate.relaxation(torch.zeros(100, 2), rate.drive(torch.zeros(100, 3)))
        >>> a.shape, bool((a >= 0).all())
        (torch.Size([100, 2]), True)
    """

    def __init__(
        self,
        features: int,
        states: int,
        *,
        hidden: Sequence[int] = (32, 32),
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.features = check_count("features", features)
        self.states = check_count("states", states)
        self.trunk = _Trunk(features, states, check_counts("hidden", hidden), silu, dtype)
        self.head = nn.Linear(self.trunk.width, 3 * states, dtype=dtype)
        with torch.no_grad():
            self.head.weight[:states] *= 10.0  # speeds range from rest to many per unit of strain
            self.head.bias[:states] = 0.0
            # Narrow at first, w = 0.05: a state that rests on every path has no gradient.
            self.head.bias[2 * states :] = -3.0
            self.trunk.states.weight *= 0.3  # else gradients through hundreds of steps can explode

    def read(self, invariants: Invariants, strain: Tensor, rate: Tensor) -> Tensor:
        """The features, of strain alone: (*shape, *event) -> (*shape, dim)."""
        return invariants(strain)

    def drive(self, features: Tensor) -> Tensor:
        """(*shape, features) -> (*shape, first width)."""
        return self.trunk.features(features)

    def relaxation(self, h: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        """Speeds a >= 0 and the points of the intervals nearest to h, each (*shape, states)."""
        speed, middle, width = self.head(self.trunk(h, drive)).chunk(3, dim=-1)
        half = softplus(width)
        return softplus(speed), torch.minimum(torch.maximum(h, middle - half), middle + half)

    def forward(self, h: Tensor, drive: Tensor) -> Tensor:
        """dh/ds: (*shape, states)."""
        speed, nearest = self.relaxation(h, drive)
        return speed * (nearest - h)


class _Trunk(nn.Module):
    """Hidden layers over features and states."""

    def __init__(
        self, features: int, states: int, hidden: tuple[int, ...], act: Any, dtype: Any
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("hidden must hold at least one width, but got ()")
        self.act, self.width = act, hidden[-1]
        self.features = nn.Linear(features, hidden[0], dtype=dtype)
        self.states = nn.Linear(states, hidden[0], bias=False, dtype=dtype)
        self.layers = nn.ModuleList(nn.Linear(n, m, dtype=dtype) for n, m in pairwise(hidden))

    def forward(self, h: Tensor, drive: Tensor) -> Tensor:
        z = self.act(drive + self.states(h))
        for layer in self.layers:
            z = self.act(layer(z))
        return z
