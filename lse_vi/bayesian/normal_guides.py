"""Normal guides of a Bayesian density, trained in the frame of the posterior's mode."""

from __future__ import annotations

from collections.abc import Callable

import pyro
import torch
from pyro.distributions import Independent
from pyro.infer.autoguide import (
    AutoDiagonalNormal,
    AutoGuide,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
)
from torch import Tensor
from tqdm.auto import tqdm

from lse_vi.bayesian.model import BayesianDensity

PARTICLES, GUIDE_RATE, LAST_RATE = 8, 0.03, 0.05  # of the guide: the rate falls to a 20th
START = 0.5  # standard deviations of the guide at the start, in units of Laplace's
RANK = 5  # of the low-rank guide, besides its diagonal
Family = Callable[[BayesianDensity], AutoGuide]
NORMAL: dict[str, Family] = {
    "full": lambda model: AutoMultivariateNormal(model, init_scale=START),
    "low_rank": lambda model: AutoLowRankMultivariateNormal(model, init_scale=START, rank=RANK),
    "mean_field": lambda model: AutoDiagonalNormal(model, init_scale=START),
}


def train(
    framed: BayesianDensity, family: Family, *, steps: int, progress: bool
) -> tuple[Tensor, Tensor]:
    """Adam on the ELBO of a normal autoguide; its mean (size,) and Cholesky factor in theta.

    What Pyro's SVI with ``Trace_ELBO`` does, in half of the time: on tensors as small as these
    the handlers of a trace cost more than the gradient.
    """
    with pyro.get_param_store().scope():
        guide = family(framed)
        guide(), guide.loc.data.zero_()
        optimiser = torch.optim.Adam(guide.parameters(), GUIDE_RATE)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, LAST_RATE ** (1 / steps))
        bar = tqdm(range(steps), f"{framed.modes} modes: guide", disable=not progress)
        for step in bar:
            optimiser.zero_grad()
            law = guide.get_posterior()
            z = law.rsample((PARTICLES,))
            loss = (law.log_prob(z) - framed.log_joint(framed.theta(z))).mean()
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % 20 == 0:
                bar.set_postfix(loss=f"{float(loss.detach()):.1f}", refresh=False)
        with torch.no_grad():
            law = guide.get_posterior()
            if isinstance(law, Independent):
                return framed.theta(law.mean), framed.root @ law.stddev.diag()
            root = torch.linalg.cholesky(law.covariance_matrix)
            return framed.theta(law.mean), framed.root @ root
