"""Networks for the rate dh/ds of the internal states, from features of strain and from h."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from lse_vi.checks import check_count, check_counts
from lse_vi.materials.invariants import Invariants

# How torch's start of the layers of a RelaxationRate is changed.
SPEED_GAIN = 10.0  # factor of the weights of the speeds: they range from rest to many per unit of s
RAW_WIDTH = -3.0  # half-width w = softplus(-3) = 0.05: a state that rests everywhere cannot learn
FEEDBACK = 0.3  # factor of the weights on h: else gradients through hundreds of steps can explode


class Rate(nn.Module):
    r"""The paper's rate network (Eq. 30): dh/ds = NN(features, h), with tanh between its layers.

    Use it to compare with the paper; :class:`RelaxationRate` suits materials with an elastic range.
    The features are the invariants of strain and rate. The part of the first layer that reads them,
    :meth:`drive`, does not depend on the states, so it is computed for all times at once.

    Args:
        features: number of features, ``rate_dim`` of the invariants.
        states: number of internal states.
        hidden: widths of the hidden layers, one or more.

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
        """The features of strain and rate: two (*shape, *event) -> (*shape, rate_dim)."""
        return invariants.with_rate(strain, rate)

    def drive(self, features: Tensor) -> Tensor:
        """(*shape, features) -> (*shape, first width)."""
        return self.trunk.features(features)

    def forward(self, h: Tensor, drive: Tensor) -> Tensor:
        """dh/ds: (*shape, states)."""
        return self.head(self.trunk(h, drive))


class RelaxationRate(nn.Module):
    r"""A network that pulls each state into an interval, and lets it rest inside.

    .. math:: dh/ds = a\, \big(\mathrm{clip}(h, b - w, b + w) - h\big), \qquad a, w \ge 0

    Use it for materials with an elastic range, and in place of :class:`Rate` where that learns
    slowly. The speed a, the middle b and the half-width w are networks of the features and h.
    Inside the interval the rate is exactly zero: this is the elastic range. The material yields at
    the ends of the interval, which move with the strain; w = 0 is a viscous material, which relaxes
    to b. A plain network can learn such a rest, and the balance on a plateau, only approximately
    and slowly. This form can also be stepped stably with any a, see :class:`Exponential`.

    The features are the invariants of strain alone, so that yielding depends on the strain and not
    on the direction of the path. Otherwise small loops could let a state creep, a little further
    with each loop.

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
            self.head.weight[:states] *= SPEED_GAIN
            self.head.bias[:states] = 0.0  # a speed of softplus(0) = 0.7 per unit of s
            self.head.bias[2 * states :] = RAW_WIDTH
            self.trunk.states.weight *= FEEDBACK

    def read(self, invariants: Invariants, strain: Tensor, rate: Tensor) -> Tensor:
        """The features of strain alone: (*shape, *event) -> (*shape, dim)."""
        return invariants(strain)

    def drive(self, features: Tensor) -> Tensor:
        """(*shape, features) -> (*shape, first width)."""
        return self.trunk.features(features)

    def relaxation(self, h: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        """The speeds a >= 0, and the points in the intervals nearest to h: two (*shape, states)."""
        speed, middle, width = self.head(self.trunk(h, drive)).chunk(3, dim=-1)
        half = softplus(width)
        return softplus(speed), torch.minimum(torch.maximum(h, middle - half), middle + half)

    def forward(self, h: Tensor, drive: Tensor) -> Tensor:
        """dh/ds: (*shape, states)."""
        speed, nearest = self.relaxation(h, drive)
        return speed * (nearest - h)


class _Trunk(nn.Module):
    """The hidden layers, over features and states; the features enter through ``features``."""

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
