"""What the fit of a density maximises, and the best state by points held out, or by it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lse_vi.densities.training_data import FitData
from lse_vi.densities.weight_prior import log_prior
from lse_vi.distribution.rule import Rule
from lse_vi.fitting.best_state import Best, snapshot
from lse_vi.fitting.processes import own_share, processes
from lse_vi.network.potential import LSEICNN


@torch.no_grad()
def judge(pot: LSEICNN, data: FitData, rule: Rule) -> tuple[Tensor, Tensor]:
    """The objective, (restarts, *batch), and the losses of the points held out."""
    log_z = rule.log_normalizer(pot)
    mean = data.mean(lambda x: pot(x.unsqueeze(1)))
    return log_prior(pot) - len(data.rows) * (mean + log_z), pot(data.test.unsqueeze(1)) + log_z


def log_posterior(pot: LSEICNN, data: FitData, rule: Rule) -> Tensor:
    """Log prior and log-likelihood, (restarts, *batch), an average over the processes."""
    drawn, lead = data.draw(), pot.batch_shape
    x = own_share(drawn).unsqueeze(1).expand(-1, *lead, -1)
    energies, nodes = pot(torch.cat([x, rule.points.expand(-1, *lead, -1)])).split(
        [len(x), len(rule.points)]
    )  # in one pass through the network
    log_z = torch.logsumexp(rule.log_weights - nodes, dim=0)
    mean = energies.sum(0) * (processes() / len(drawn))  # over the points of all processes
    return log_prior(pot) - len(data.rows) * (mean + log_z)


def is_finite(loss: Tensor, pot: LSEICNN) -> bool:
    """Are the loss and its gradient finite?"""
    total = loss.detach() + sum(p.grad.abs().sum() for p in pot.parameters() if p.grad is not None)
    return bool(torch.isfinite(total))


@dataclass(kw_only=True)
class BestDensity(Best):
    """The best state so far: by points held out, if there are any, else by the objective.

    Attributes:
        losses: of points held out, at the state with the smallest mean, (n, *batch); n may be 0.
        objective: the largest so far, (*batch,): early stopping may land tens of nats below it.
        stale: looks in a row at which the points held out spoke against every member.
    """

    losses: Tensor
    objective: Tensor

    @classmethod
    def of(cls, pot: LSEICNN, objective: Tensor, losses: Tensor) -> BestDensity:
        """The state as it is."""
        score = _score(losses, objective)
        return cls(state=snapshot(pot), score=score, losses=losses, objective=objective)

    def look(
        self,
        pot: LSEICNN,
        objective: Tensor,
        losses: Tensor,
        *,
        noise: Tensor | float = 0.0,
        slack: float = 0.0,
    ) -> None:
        """Keep the parameters as they are where they are no worse than the best so far.

        By points held out: the mean loss is no more than ``slack`` standard errors (of the
        difference) above the smallest so far. By the objective: it is no more than its error,
        ``noise`` (*batch,), below the largest so far.
        """
        if len(losses):
            excess = losses - self.losses
            error = excess.std(0, correction=0) / math.sqrt(len(losses))
            good = excess.mean(0) < slack * error
            self.losses = torch.where(excess.mean(0) < 0, losses, self.losses)
            self.stale = 0 if bool(good.any()) else self.stale + 1
        else:
            good = objective >= self.objective - noise
        self.objective = torch.maximum(objective, self.objective)
        self.keep(pot, good, self.score)
        self.score = _score(self.losses, self.objective)


def _score(losses: Tensor, objective: Tensor) -> Tensor:
    return losses.mean(0) if len(losses) else -objective
