"""The Levenberg-Marquardt solver: damped Gauss-Newton steps for all members of a batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lse_vi.checks import check_count, check_positive
from lse_vi.network.images import TooManyImagesError, held, turned_back
from lse_vi.network.potential import LSEICNN
from lse_vi.potentials.solver import Run, log_floor
from lse_vi.potentials.targets import Targets
from lse_vi.signatures.checked import checked

# Nielsen's rule for the damping: a step that gains as expected divides it by up to 5 (his rule: 3),
# and each failure in a row multiplies it by twice the last factor.
MOST_EASING, FIRST_GROWTH, MORE_GROWTH = 0.2, 2.0, 2.0
MOST_GROWTH = 1e3  # the largest of these factors: with it, the damping is at its bound soon anyway
DAMPING_RANGE = (1e-14, 1e12)  # below it the ridge is rounding error, above it steps have no length


@checked
@dataclass(frozen=True)
class LevenbergMarquardt:
    r"""Damped Gauss-Newton steps on the residuals, for every member of the batch at once.

    The default solver of :func:`~lse_vi.fit_potential`, for up to a few thousand points or
    parameters.

    .. math:: \theta \leftarrow \theta - (J^T J + \lambda \bar{D} I)^{-1} J^T r

    with :math:`\bar D` the mean diagonal entry of J^T J. A step is taken if it lowers the loss. The
    damping :math:`\lambda` follows the ratio of the actual to the expected gain (Nielsen 1999,
    IMM-REP-1999-05). The linear system is solved in parameters or in residuals, whichever are
    fewer, so memory grows as residuals times parameters.

    Args:
        steps: at most so many.
        damping: lambda at the start.
        check_every, patience: see :class:`~lse_vi.potentials.Solver`.

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
        """Begin a run on ``pot``; see :class:`~lse_vi.potentials.Solver`."""
        return _LevenbergMarquardtRun(self, pot, targets, min_rho)


class _LevenbergMarquardtRun:
    """A run of :class:`LevenbergMarquardt`, which moves the parameters of ``pot`` in place."""

    def __init__(
        self, settings: LevenbergMarquardt, pot: LSEICNN, targets: Targets, min_rho: float
    ) -> None:
        self.pot, self.targets = pot, targets
        self.floor = _floors(pot, min_rho)
        self.damping = torch.full_like(pot.log_rho, settings.damping).detach()
        self.growth = torch.full_like(self.damping, FIRST_GROWTH)
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
        moved = _on_circle(self.pot, torch.maximum(theta + step, self.floor))
        try:
            with torch.no_grad():
                trial = self.targets.loss(_at(self.pot, moved))
        except TooManyImagesError:  # a step into nowhere: it is refused
            trial = torch.full_like(loss, torch.nan)
        gain = (loss - trial) / expected
        taken = gain > 0  # False for a trial that is not finite
        _write(self.pot, torch.where(taken.unsqueeze(-1), moved, theta))
        eased = self.damping * (1 - (2 * gain - 1) ** 3).clamp(min=MOST_EASING)
        self.damping = torch.where(taken, eased, self.damping * self.growth).clamp(*DAMPING_RANGE)
        grown = (self.growth * MORE_GROWTH).clamp(max=MOST_GROWTH)
        self.growth = torch.where(taken, FIRST_GROWTH, grown)
        if bool(taken.any()):
            self.linear = None
        return loss

    def _linearise(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals (*lead, m) and their Jacobian (*lead, m, size).

        Every point has a copy of the parameters, so one backward pass gives the rows of all points.
        """
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
        stuck = (theta <= self.floor) & (gradient > 0)  # a step would go below it
        if bool(stuck.any()):
            jacobian = jacobian.masked_fill(stuck.unsqueeze(-2), 0.0)
        return r, jacobian

    def state_dict(self) -> dict[str, Any]:
        return {"damping": self.damping, "growth": self.growth}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.damping, self.growth, self.linear = state["damping"], state["growth"], None


def _ridge_solve(jacobian: Tensor, r: Tensor, damping: Tensor) -> tuple[Tensor, Tensor]:
    """The damped step (*lead, size), and the ridge (*lead,) that was added to the diagonal."""
    wide = jacobian.shape[-1] > jacobian.shape[-2]  # fewer residuals than parameters
    system = jacobian @ jacobian.mT if wide else jacobian.mT @ jacobian
    diagonal = system.diagonal(dim1=-2, dim2=-1)
    ridge = damping * diagonal.mean(-1)
    diagonal.add_(ridge.unsqueeze(-1))
    factor, failed = torch.linalg.cholesky_ex(system)
    right = r.unsqueeze(-1) if wide else jacobian.mT @ r.unsqueeze(-1)
    solution = torch.cholesky_solve(right, factor)
    step = -(jacobian.mT @ solution if wide else solution).squeeze(-1)
    # A system that is indefinite by rounding gives NaN: the step is refused and the damping grows.
    return torch.where((failed == 0).unsqueeze(-1), step, torch.nan), ridge


def _trainable(pot: LSEICNN) -> dict[str, Tensor]:
    return {name: p for name, p in pot.named_parameters() if p.requires_grad}


def _flatten(pot: LSEICNN) -> Tensor:
    """The trainable parameters of every member of the batch: (*batch, size)."""
    lead = pot.batch_shape
    return torch.cat([p.detach().reshape(*lead, -1) for p in _trainable(pot).values()], dim=-1)


def _floors(pot: LSEICNN, min_rho: float) -> Tensor:
    """The least value of each trainable parameter, in the order of :func:`_flatten`: (size,)."""
    one = {name: p[(0,) * len(pot.batch_shape)] for name, p in _trainable(pot).items()}
    return torch.cat(
        [
            torch.full_like(p, log_floor(min_rho) if name == "log_rho" else -math.inf)
            .detach()
            .flatten()
            for name, p in one.items()
        ]
    )


def _split(pot: LSEICNN, theta: Tensor) -> dict[str, Tensor]:
    """Undo :func:`_flatten` for (*extra, *batch, size): parameters (*extra, *batch, *event)."""
    depth = len(pot.batch_shape)
    events = {name: p.shape[depth:] for name, p in _trainable(pot).items()}
    parts = theta.split([event.numel() for event in events.values()], dim=-1)
    return {
        name: part.reshape((*theta.shape[:-1], *event))
        for (name, event), part in zip(events.items(), parts, strict=True)
    }


def _at(pot: LSEICNN, theta: Tensor) -> LSEICNN:
    """The potential at the parameters ``theta``, differentiable in them."""
    return pot.with_parameters(_split(pot, theta))


@torch.no_grad()
def _on_circle(pot: LSEICNN, theta: Tensor) -> Tensor:
    """``theta`` with modes that a period holds, or turns back; see ``network.images``."""
    if pot.units.turn is None:
        return theta
    moved, names = _at(pot, theta), _trainable(pot)
    fixed = {**dict(moved.named_parameters()), **held(moved), **turned_back(moved)}
    parts = [fixed[name].reshape(*pot.batch_shape, -1) for name in names]
    return torch.cat(parts, dim=-1)


@torch.no_grad()
def _write(pot: LSEICNN, theta: Tensor) -> None:
    """Set the trainable parameters of ``pot`` to ``theta``, in place."""
    for name, part in _split(pot, theta).items():
        pot.get_parameter(name).copy_(part)
