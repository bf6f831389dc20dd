"""Normal guides: Laplace's at the mode of a posterior, and others trained in its frame."""

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
from lse_vi.numerics.linear_algebra import jacobian
from lse_vi.random.turns import own_draws, own_parameters

RESTARTS = 6  # starts of the search for the posterior's mode, in one batch: some end in worse peaks
MODE_STEPS = 250  # Adam steps of the search: enough for a frame, which need not be exact
MODE_RATE = 0.1  # largest learning rate, in standardised coordinates, which are of order one
MODE_RISE = 0.1  # share of the steps in which the rate rises: short, as the starts are good
LEVEL = 0.01  # nats within which ends of an ascent are as good as each other
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


def find_mode(model: BayesianDensity, *, seed: int = 0, progress: bool = False) -> Tensor:
    """The best end of several ascents of the log joint by Adam, (size,)."""
    theta = model.starts(RESTARTS, seed).requires_grad_()
    optimiser = torch.optim.Adam([theta])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, MODE_RATE, total_steps=MODE_STEPS, pct_start=MODE_RISE
    )
    bar = tqdm(range(MODE_STEPS), f"{model.modes} modes: posterior mode", disable=not progress)
    for _ in bar:
        optimiser.zero_grad()
        log_joint = model.unit_log_joint(theta)
        (-log_joint.sum()).backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        log_joint = model.unit_log_joint(theta).nan_to_num(nan=-torch.inf)
    # Several starts often end in one mode, under other labels. Rounding must not choose among them.
    level = log_joint >= log_joint.amax() - LEVEL
    return theta.detach()[level.int().argmax()]


def laplace_root(log_joint: Callable[[Tensor], Tensor], theta: Tensor, prior_sd: Tensor) -> Tensor:
    """Cholesky factor of Laplace's covariance at ``theta``, (*batch, size, size).

    A curvature below the prior's, as where the likelihood is flat or curves upwards, is replaced by
    the prior's. So no direction is wider than the prior.

    Args:
        log_joint: (*batch, size) -> (*batch,).
        theta: (*batch, size), usually the posterior's mode.
        prior_sd: standard deviations of the prior, (size,).
    """
    theta = theta.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(log_joint(theta).sum(), theta, create_graph=True)
    both = prior_sd * prior_sd.unsqueeze(-1)
    hessian = -jacobian(gradient, theta) * both  # in units of the prior, whose curvature is 1
    curvature, axes = torch.linalg.eigh((hessian + hessian.mT) / 2)
    covariance = (axes / curvature.clamp_min(1.0).unsqueeze(-2)) @ axes.mT
    return torch.linalg.cholesky(covariance * both)


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
