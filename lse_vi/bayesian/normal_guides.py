"""Normal guides of a Bayesian density, trained in the frame of the posterior's mode."""

from __future__ import annotations

from collections.abc import Callable

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
from lse_vi.random.turns import own_draws, own_parameters

PARTICLES = 8  # draws per step: less noise in the gradient, for little time, as they are one batch
GUIDE_RATE = 0.03  # first learning rate of Adam, in the frame, where the guide's width is about 1
LAST_RATE = 0.05  # the last learning rate, as a share of the first: it averages out the noise
FIRST_WIDTH = 0.5  # of the guide, in Laplace's deviations: wider, draws fall far from the mode
RANK = 5  # of the low-rank guide, besides its diagonal: few directions of strong correlation
LOSS_STEPS = 20  # steps between updates of the loss in the progress bar
Family = Callable[[BayesianDensity], AutoGuide]  # makes a guide for a model
NORMAL: dict[str, Family] = {
    "full": lambda model: AutoMultivariateNormal(model, init_scale=FIRST_WIDTH),
    "low_rank": lambda model: AutoLowRankMultivariateNormal(
        model, init_scale=FIRST_WIDTH, rank=RANK
    ),
    "mean_field": lambda model: AutoDiagonalNormal(model, init_scale=FIRST_WIDTH),
}  # the families of ``fit_posterior``'s guides, by name


def train(
    framed: BayesianDensity, family: Family, *, steps: int, progress: bool
) -> tuple[Tensor, Tensor]:
    """Train a normal autoguide by Adam on the ELBO.

    It does what Pyro's SVI with ``Trace_ELBO`` does, in half of the time: on tensors of this size
    the handlers of a trace cost more than the gradient.

    Args:
        framed: the model, in the frame in which the guide is trained.
        family: one of :data:`NORMAL`.
        steps: number of Adam steps.
        progress: show a bar with the loss.

    Returns:
        The mean (size,) and the Cholesky factor (size, size) of the guide, as a law of theta.
    """
    with own_draws(), own_parameters():
        guide = family(framed)
        guide()  # makes its parameters
        guide.loc.data.zero_()
        optimiser = torch.optim.Adam(guide.parameters(), GUIDE_RATE)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, LAST_RATE ** (1 / steps))
        bar = tqdm(range(steps), f"{framed.modes} modes: guide", disable=not progress)
        for step in bar:
            optimiser.zero_grad()
            law = guide.get_posterior()
            z = law.rsample((PARTICLES,))
            loss = (law.log_prob(z) - framed.unit_log_joint(framed.theta(z))).mean()
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % LOSS_STEPS == 0:
                bar.set_postfix(loss=f"{float(loss.detach()):.1f}", refresh=False)
        with torch.no_grad():
            law = guide.get_posterior()
            if isinstance(law, Independent):
                return framed.theta(law.mean), framed.root @ law.stddev.diag()
            root = torch.linalg.cholesky(law.covariance_matrix)
            return framed.theta(law.mean), framed.root @ root
