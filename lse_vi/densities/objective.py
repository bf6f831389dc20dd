"""The objective of a density's fit, and the best state by held-out points or by the objective."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lse_vi.densities.training_data import FitData
from lse_vi.densities.weight_prior import log_prior
from lse_vi.distribution.rule import AnyRule
from lse_vi.fitting.best_state import Best, snapshot
from lse_vi.fitting.processes import own_share, processes
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.weighted import mean_and_error


@torch.no_grad()
def judge(pot: LSEICNN, data: FitData, rule: AnyRule) -> tuple[Tensor, Tensor]:
    """The objective, (restarts, *batch), and held-out losses, (n, restarts, *batch)."""
    log_z = data.log_normalizer(rule.log_normalizer(pot))
    mean = data.mean(lambda x, w: data.energy(pot, x.unsqueeze(1)) * w.unsqueeze(1))
    losses = data.held_out(data.energy(pot, data.test.unsqueeze(1)) + log_z)
    return log_prior(pot, half_open=data.half_open) - data.size.to(mean) * (mean + log_z), losses


def log_posterior(pot: LSEICNN, data: FitData, rule: AnyRule) -> Tensor:
    """Log prior plus log-likelihood of a step's points, (restarts, *batch).

    Under several processes, the mean over the processes is the value for all points of the step.
    """
    (drawn, weights), lead = data.draw(), pot.batch_shape
    x = own_share(drawn).unsqueeze(1).expand(-1, *lead, -1)
    w = own_share(weights).unsqueeze(1).to(x)
    energies, log_z = rule.energies(pot, x)
    log_z = data.log_normalizer(log_z)
    total = (data.beside(energies, x) * w).sum(0)
    mean = total * (processes() / len(drawn))  # averages to the mean over all points
    return log_prior(pot, half_open=data.half_open) - data.size.to(mean) * (mean + log_z)


def is_finite(loss: Tensor, pot: LSEICNN) -> bool:
    """Are the loss and its gradient finite?"""
    total = loss.detach() + sum(p.grad.abs().sum() for p in pot.parameters() if p.grad is not None)
    return bool(torch.isfinite(total))


@dataclass(kw_only=True)
class BestDensity(Best):
    """The best state so far: by held-out points if there are any, else by the objective.

    Attributes:
        losses: of held-out points at the state with the smallest mean, (n, *batch); n may be 0,
            and entries NaN where one data set has fewer than another.
        objective: the largest so far, (*batch,), possibly of another state: the state that is best
            on held-out points may be tens of nats below it.
        stale: looks in a row at which no member of the batch was good on held-out points.
    """

    losses: Tensor
    objective: Tensor

    @classmethod
    def of(cls, pot: LSEICNN, objective: Tensor, losses: Tensor) -> BestDensity:
        """Begin with the state as it is."""
        score = _score(losses, objective)
        return cls(state=snapshot(pot), score=score, losses=losses, objective=objective)

    def look(
        self, pot: LSEICNN, objective: Tensor, losses: Tensor, *, noise: Tensor | float = 0.0
    ) -> None:
        """Keep the parameters of the members that are no worse than the best so far.

        With held-out points, a member is no worse if its mean loss is below the smallest so far.
        Without them, it is no worse if its objective is at most ``noise`` (*batch,), the error of
        log Z, below the largest so far.
        """
        if len(losses):
            good = mean_and_error(losses - self.losses)[0] < 0
            self.losses = torch.where(good, losses, self.losses)
            self.stale = 0 if bool(good.any()) else self.stale + 1
        else:
            good = objective >= self.objective - noise
        self.objective = torch.maximum(objective, self.objective)
        self.keep(pot, good, self.score)
        self.score = _score(self.losses, self.objective)


def _score(losses: Tensor, objective: Tensor) -> Tensor:
    """The score that the best state makes small, (*batch,)."""
    return mean_and_error(losses)[0] if len(losses) else -objective
