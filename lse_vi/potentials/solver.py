"""What a solver is: settings that begin a descent, and the descent, one step at a time."""

from __future__ import annotations

import math
from typing import Any, Protocol

from torch import Tensor

from lse_vi.network.potential import LSEICNN
from lse_vi.potentials.targets import Targets


class Run(Protocol):
    """A descent under way: ``step`` moves the potential's parameters and returns the loss."""

    def step(self) -> Tensor:
        """One step; the losses before it, (restarts, *batch)."""

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs besides the parameters."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""


class Solver(Protocol):
    """Settings of a descent.

    Attributes:
        steps: how many at most.
        check_every: steps between looks at the held-out error.
        patience: looks without 1% less error before the descent stops.
    """

    @property
    def steps(self) -> int:
        """How many steps at most."""

    @property
    def check_every(self) -> int:
        """Steps between looks at the held-out error."""

    @property
    def patience(self) -> int:
        """Looks without 1% less error before the descent stops."""

    def begin(self, pot: LSEICNN, targets: Targets, *, min_rho: float = 0.0) -> Run:
        """A run that fits the trainable parameters of ``pot``, with rho at least ``min_rho``."""


def log_floor(min_rho: float) -> float:
    """The least log rho; minus infinity where rho may fall to zero."""
    return math.log(min_rho) if min_rho > 0 else -math.inf
