"""Ways to descend the loss of a potential: each hands out runs that make one step at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from lse_vi.checks import check_count, check_number, check_positive
from lse_vi.potential import LSEICNN
from lse_vi.targets import Targets


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


@dataclass(frozen=True)
class LevenbergMarquardt:
    r"""Damped Gauss-Newton steps on the residuals, for every member of the batch at once.

    .. math:: \theta \leftarrow \theta - (J^T J + \lambda \bar{D} I)^{-1} J^T r

    with :math:`\bar D` the mean of the diagonal. A step is taken if it lowers the loss, and the
    damping :math:`\lambda` follows the ratio of the actual to the expected gain (Nielsen 1999,
    IMM-REP-1999-05). The smaller of the two linear systems, in parameters or in residuals, is
    solved, so memory grows as residuals times parameters: for up to a few thousand of either.

    Args:
        steps: at most so many.
        damping: the first lambda.
        check_every, patience: see :class:`~lse_vi.solvers.Solver`.

    Raises:
        ValueError: for a setting that is not positive.

    Example:
        >>> from lse_vi import fit_potential
        >>> x = torch.linspace(-2, 2, 50)
        >>> few = {"discovery": None, "restarts": 2, "polish": 0, "progress": False}
        >>> solver = LevenbergMarquardt(steps=5)
        >>> fit_potential(LSEICNN(1, 2), x, value=x**4, solver=solver, **few).history["step"]
        [1, 2, 3, 4, 5]
    """

    steps: int = 60
    damping: float = 1e-2
    check_every: int = 1
    patience: int = 10

    def __post_init__(self) -> None:
        check_positive("damping", self.damping)
        for name in ("steps", "check_every", "patience"):
            check_count(name, getattr(self, name))

    def begin(self, pot: LSEICNN, targets: Targets, *, min_rho: float = 0.0) -> Run:
        """See :class:`~lse_vi.solvers.Solver`."""
        return _LevenbergMarquardtRun(self, pot, targets, min_rho)


class _LevenbergMarquardtRun:
    def __init__(
        self, settings: LevenbergMarquardt, pot: LSEICNN, targets: Targets, min_rho: float
    ) -> None:
        self.pot, self.targets = pot, targets
        self.floor = _floors(pot, min_rho)
        self.damping = torch.full_like(pot.log_rho, settings.damping).detach()
        self.growth = torch.full_like(self.damping, 2.0)
        self.linear: tuple[Tensor, Tensor] | None = None  # residuals and Jacobian, while valid

    def step(self) -> Tensor:
        theta = _flatten(self.pot)
        if self.linear is None:
            self.linear = self._linearise(theta)
        r, jacobian = self.linear  # (*lead, m), (*lead, m, size)
        loss = r.square().sum(-1)
        step, ridge = _ridge_solve(jacobian, r, self.damping)
        slope = (jacobian @ step.unsqueeze(-1)).squeeze(-1)
        expected = ridge * step.square().sum(-1) * 2 + slope.square().sum(-1)
        moved = torch.maximum(theta + step, self.floor)
        with torch.no_grad():
            trial = self.targets.loss(_at(self.pot, moved))
        gain = (loss - trial) / expected
        taken = gain > 0  # False for a trial that is not finite
        _write(self.pot, torch.where(taken.unsqueeze(-1), moved, theta))
        eased = self.damping * (1 - (2 * gain - 1) ** 3).clamp(min=0.2)
        self.damping = torch.where(taken, eased, self.damping * self.growth).clamp(1e-14, 1e12)
        self.growth = torch.where(taken, 2.0, (self.growth * 2).clamp(max=1e3))
        if bool(taken.any()):
            self.linear = None
        return loss

    def _linearise(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals (*lead, m) and their Jacobian, every point with a copy of the parameters."""
        wide = theta.expand(len(self.targets), *theta.shape).clone().requires_grad_()
        r = self.targets.residuals(_at(self.pot, wide))  # (n, *lead, outputs)
        outputs = r.unbind(-1)
        rows = [
            torch.autograd.grad(out.sum(), wide, retain_graph=i + 1 < len(outputs))[0]
            for i, out in enumerate(outputs)
        ]
        jacobian = torch.stack(rows).flatten(0, 1).movedim(0, -2)  # (*lead, outputs * n, size)
        r = torch.cat(outputs).detach().movedim(0, -1)
        gradient = (jacobian.mT @ r.unsqueeze(-1)).squeeze(-1)
        stuck = (theta <= self.floor) & (gradient > 0)  # would go on below the floor
        if bool(stuck.any()):
            jacobian = jacobian.masked_fill(stuck.unsqueeze(-2), 0.0)
        return r, jacobian

    def state_dict(self) -> dict[str, Any]:
        return {"damping": self.damping, "growth": self.growth}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.damping, self.growth, self.linear = state["damping"], state["growth"], None


def _ridge_solve(jacobian: Tensor, r: Tensor, damping: Tensor) -> tuple[Tensor, Tensor]:
    """The damped step and the ridge that was added, by the smaller of the two normal systems."""
    wide = jacobian.shape[-1] > jacobian.shape[-2]
    system = jacobian @ jacobian.mT if wide else jacobian.mT @ jacobian
    diagonal = system.diagonal(dim1=-2, dim2=-1)
    ridge = damping * diagonal.mean(-1)
    diagonal.add_(ridge.unsqueeze(-1))
    factor, failed = torch.linalg.cholesky_ex(system)
    right = r.unsqueeze(-1) if wide else jacobian.mT @ r.unsqueeze(-1)
    solution = torch.cholesky_solve(right, factor)
    step = -(jacobian.mT @ solution if wide else solution).squeeze(-1)
    # A system that rounding made indefinite gives no step; more damping follows.
    return torch.where((failed == 0).unsqueeze(-1), step, torch.nan), ridge


@dataclass(frozen=True)
class Adam:
    """Adam on all points at once, as in the paper (Kingma & Ba 2015).

    Args:
        steps: at most so many.
        learning_rate: for the networks.
        gate_learning_rate: for alpha and log rho; the same by default.
        gate_penalty: epsilon in the paper's term epsilon sum_k |alpha_k| (Eq. 7). It stops at
            alpha = 0, a gate of 4.5e-5, so it closes no gate: it is here for comparison.
        check_every, patience: see :class:`~lse_vi.solvers.Solver`.

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
        """See :class:`~lse_vi.solvers.Solver`."""
        return _AdamRun(self, pot, targets, min_rho)


class _AdamRun:
    def __init__(self, settings: Adam, pot: LSEICNN, targets: Targets, min_rho: float) -> None:
        self.pot, self.targets, self.penalty = pot, targets, settings.gate_penalty
        self.floor = _log(min_rho)
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
        if self.pot.log_rho.requires_grad:
            with torch.no_grad():
                self.pot.log_rho.clamp_(min=self.floor)
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        return self.optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimiser.load_state_dict(state)


def _trainable(pot: LSEICNN) -> dict[str, Tensor]:
    return {name: p for name, p in pot.named_parameters() if p.requires_grad}


def _log(number: float) -> float:
    return math.log(number) if number > 0 else -math.inf


def _flatten(pot: LSEICNN) -> Tensor:
    """The trainable parameters of every member of the batch: (*batch, size)."""
    lead = pot.batch_shape
    return torch.cat([p.detach().reshape(*lead, -1) for p in _trainable(pot).values()], dim=-1)


def _floors(pot: LSEICNN, min_rho: float) -> Tensor:
    """The least value of each trainable parameter, in the order of :func:`_flatten`: (size,)."""
    one = {name: p[(0,) * len(pot.batch_shape)] for name, p in _trainable(pot).items()}
    return torch.cat(
        [
            torch.full_like(p, _log(min_rho) if name == "log_rho" else -math.inf).detach().flatten()
            for name, p in one.items()
        ]
    )


def _split(pot: LSEICNN, theta: Tensor) -> dict[str, Tensor]:
    """(*extra, *batch, size) -> each parameter (*extra, *batch, *event)."""
    depth = len(pot.batch_shape)
    events = {name: p.shape[depth:] for name, p in _trainable(pot).items()}
    parts = theta.split([event.numel() for event in events.values()], dim=-1)
    return {
        name: part.reshape((*theta.shape[:-1], *event))
        for (name, event), part in zip(events.items(), parts, strict=True)
    }


def _at(pot: LSEICNN, theta: Tensor) -> LSEICNN:
    """The potential at other parameters, gradients flowing."""
    return pot.with_parameters(_split(pot, theta))


@torch.no_grad()
def _write(pot: LSEICNN, theta: Tensor) -> None:
    for name, part in _split(pot, theta).items():
        pot.get_parameter(name).copy_(part)
