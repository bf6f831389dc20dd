"""Adam on all points at once, the paper's solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lse_vi.checks import check_count, check_number, check_positive
from lse_vi.network.images import hold_
from lse_vi.network.potential import LSEICNN
from lse_vi.potentials.solver import Run, log_floor
from lse_vi.potentials.targets import Targets
from lse_vi.signatures.checked import checked


@checked
@dataclass(frozen=True)
class Adam:
    """Adam on all points at once, as in the paper (Kingma & Ba 2015).

    Use it where :class:`LevenbergMarquardt` needs too much memory, or to compare with the paper.

    Args:
        steps: at most so many.
        learning_rate: for the networks.
        gate_learning_rate: for alpha and log rho; ``learning_rate`` by default.
        gate_penalty: epsilon in the paper's term epsilon sum_k |alpha_k| (Eq. 7), to compare with
            the paper. The term is least at alpha = 0, a gate of 4.5e-5, so it closes no gate.
        check_every, patience: see :class:`~lse_vi.potentials.Solver`.

    Raises:
        ValueError: for a setting that is not positive, or a negative penalty.

    Example:
        >>> from lse_vi import fit_potential
        >>> x = torch.linspace(-2, 2, 50)
        >>> few = {"discovery": None, "restarts": 2, "polish": 0, "progress": False}
        >>> solver = Adam(steps=300)
        >>> fit_potential(LSEICNN(1, 2), x, value=x**4, solver=solver, **few).potential.modes
        2
    """

    steps: int = 5000
    learning_rate: float = 1e-2
    gate_learning_rate: float | None = None
    gate_penalty: float = 0.0
    check_every: int = 100
    patience: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "check_every", "patience"):
            check_count(name, getattr(self, name))
        check_positive("learning_rate", self.learning_rate)
        if self.gate_learning_rate is not None:
            check_positive("gate_learning_rate", self.gate_learning_rate)
        if not check_number("gate_penalty", self.gate_penalty) >= 0:
            raise ValueError(f"gate_penalty must be at least 0, but got {self.gate_penalty}")

    def begin(self, pot: LSEICNN, targets: Targets, *, min_rho: float = 0.0) -> Run:
        """Begin a run on ``pot``; see :class:`~lse_vi.potentials.Solver`."""
        return _AdamRun(self, pot, targets, min_rho)


class _AdamRun:
    """A run of :class:`Adam`, which moves the parameters of ``pot`` in place."""

    def __init__(self, settings: Adam, pot: LSEICNN, targets: Targets, min_rho: float) -> None:
        self.pot, self.targets, self.penalty = pot, targets, settings.gate_penalty
        self.floor = log_floor(min_rho)
        gates = [p for p in (pot.alpha, pot.log_rho) if p.requires_grad]
        networks = [p for p in pot.network.parameters() if p.requires_grad]
        rate = settings.gate_learning_rate or settings.learning_rate
        groups: list[dict[str, Any]] = [{"params": networks}, {"params": gates, "lr": rate}]
        self.optimiser = torch.optim.Adam(groups, lr=settings.learning_rate)

    def step(self) -> Tensor:
        self.optimiser.zero_grad()
        loss = self.targets.loss(self.pot)
        total = loss.sum()
        if self.penalty:
            total = total + self.penalty * self.pot.alpha.abs().sum()
        total.backward()
        self.optimiser.step()
        hold_(self.pot)
        if self.pot.log_rho.requires_grad:
            with torch.no_grad():
                self.pot.log_rho.clamp_(min=self.floor)
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        return self.optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimiser.load_state_dict(state)
