"""The interface of a solver: its settings begin a run, which descends one step at a time."""

from __future__ import annotations

import math
from typing import Any, Protocol

from torch import Tensor

from lse_vi.network.potential import LSEICNN
from lse_vi.potentials.targets import Targets


class Run(Protocol):
    """A descent under way, which moves the parameters of a potential in place.

    What :meth:`Solver.begin` must return.
    """

    def step(self) -> Tensor:
        """Take one step, and return the losses before it, (restarts, *batch)."""

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs besides the parameters of the potential."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state``."""


class Solver(Protocol):
    """The settings of a descent, to write a solver of your own for :func:`~lse_vi.fit_potential`.

    Attributes:
        steps: at most so many.
        check_every: steps between looks at the held-out error.
        patience: looks in a row without 1% less error that end the descent.
    """

    @property
    def steps(self) -> int:
        """The largest number of steps."""

    @property
    def check_every(self) -> int:
        """Steps between looks at the held-out error."""

    @property
    def patience(self) -> int:
        """Looks in a row without 1% less error that end the descent."""

    def begin(self, pot: LSEICNN, targets: Targets, *, min_rho: float = 0.0) -> Run:
        """Begin a run that fits the trainable parameters of ``pot``, with rho >= ``min_rho``.

        Args:
            pot: of batch shape (restarts, *batch); its parameters are replaced.
            targets: what it is fitted to.
            min_rho: per unit of E in the targets.
        """


def log_floor(min_rho: float) -> float:
    """The least log rho; minus infinity if ``min_rho`` is 0."""
    return math.log(min_rho) if min_rho > 0 else -math.inf
