"""What the fit of a density maximises: log prior and log-likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from lse_vi.densities.training_data import FitData
from lse_vi.densities.weight_prior import log_prior
from lse_vi.distribution.rule import Rule
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
