"""The mode of a posterior, and Laplace's approximation of its covariance there."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from tqdm.auto import tqdm

from lse_vi.bayesian.model import BayesianDensity
from lse_vi.numerics.linear_algebra import jacobian

RESTARTS = 6  # starts of the search for the posterior's mode, in one batch: some end in worse peaks
MODE_STEPS = 250  # Adam steps of the search: enough for a frame, which need not be exact
MODE_RATE = 0.1  # largest learning rate, in standardised coordinates, which are of order one
MODE_RISE = 0.1  # share of the steps in which the rate rises: short, as the starts are good

LEVEL = 0.01  # nats within which ends of an ascent are as good as each other


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
