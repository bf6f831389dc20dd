"""What AutoLSEICNN is measured against: Pyro's autoguides, a spline flow, a Gaussian mixture."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import process_time
from typing import NamedTuple

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import (
    AutoContinuous,
    AutoDiagonalNormal,
    AutoIAFNormal,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
)
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from benchmarks.targets import Model, Target
from lse_vi.joint.log_joint import LogJoint


class Approximation(NamedTuple):
    """A density q over unconstrained latents: draws with their log q, and log q anywhere."""

    draw: Callable[[int], tuple[Tensor, Tensor]]
    log_prob: Callable[[Tensor], Tensor]


def joint_of(target: Target) -> tuple[LogJoint, int]:
    """The log joint of a target over its unconstrained latents, and their number."""
    pyro.clear_param_store()
    guide = AutoMultivariateNormal(target.model)
    guide(*target.args)
    return LogJoint(target.model, guide._unpack_latent, target.args, {}), guide.latent_dim


def autoguide(
    make: Callable[[Model], AutoContinuous], target: Target, seconds: float, *, particles: int = 8
) -> Approximation:
    """A Pyro autoguide trained by SVI for some seconds of CPU: Adam, its rate falling to 1 %."""
    pyro.clear_param_store()
    guide = make(target.model)
    elbo = Trace_ELBO(num_particles=particles, vectorize_particles=True)
    optimiser = pyro.optim.Adam({"lr": 0.02})
    svi = SVI(target.model, guide, optimiser, elbo)
    start = process_time()
    while (used := (process_time() - start) / seconds) < 1:
        svi.step(*target.args)
        for each in optimiser.optim_objs.values():
            each.param_groups[0]["lr"] = 0.02 * 0.01**used
    density = guide.get_posterior(*target.args)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        z = density.sample((n,))
        return z, density.log_prob(z)

    return Approximation(draw, density.log_prob)


def mean_field(target: Target, seconds: float) -> Approximation:
    """AutoNormal, written over the whole latent vector: a diagonal Gaussian either way."""
    return autoguide(AutoDiagonalNormal, target, seconds)


def spline_flow(target: Target, seconds: float) -> Approximation:
    """A neural spline flow of zuko, trained by the reparameterised ELBO."""
    import zuko

    log_joint, dim = joint_of(target)
    flow = zuko.flows.NSF(dim, transforms=3, hidden_features=(64, 64))
    flow = flow.to(torch.get_default_dtype())
    scale = 5.0  # the splines act on [-5, 5]; the target may be wider
    jacobian = dim * math.log(scale)
    optimiser = torch.optim.Adam(flow.parameters(), 1e-3)
    start = process_time()
    while (used := (process_time() - start) / seconds) < 1:
        z, log_q = flow().rsample_and_log_prob((256,))
        loss = (log_q - jacobian - log_joint(scale * z)).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimiser.param_groups[0]["lr"] = 1e-3 * 0.01**used
        optimiser.step()

    @torch.no_grad()
    def draw(n: int) -> tuple[Tensor, Tensor]:
        z, log_q = flow().rsample_and_log_prob((n,))
        return scale * z, log_q - jacobian

    return Approximation(draw, lambda z: flow().log_prob(z / scale) - jacobian)


def gaussian_mixture(
    target: Target, seconds: float, *, modes: int = 40, draws: int = 8, spread: float = 20.0
) -> Approximation:
    """The honest rival: full-covariance Gaussians, the stratified ELBO, and annealing.

    ELBO = sum_k pi_k E_k[l - log q], with reparameterised draws of every component, so there is
    no discrete choice to differentiate. The target is tempered from 1 % to 1 over the first half.
    """
    log_joint, dim = joint_of(target)
    loc = nn.Parameter(spread * torch.randn(modes, dim))
    raw = nn.Parameter(torch.eye(dim).expand(modes, dim, dim).clone())
    logits = nn.Parameter(torch.zeros(modes))
    groups = [{"params": [loc], "lr": 0.1}, {"params": [raw, logits], "lr": 0.02}]
    optimiser = torch.optim.Adam(groups)
    rates = [group["lr"] for group in groups]

    def mixture() -> MixtureSameFamily:
        root = raw.tril(-1) + torch.diag_embed(nn.functional.softplus(raw.diagonal(0, 1, 2)))
        return MixtureSameFamily(
            Categorical(logits=logits),
            MultivariateNormal(loc, scale_tril=root),
            validate_args=False,
        )

    start = process_time()
    while (used := (process_time() - start) / seconds) < 1:
        q = mixture()
        z = q.component_distribution.rsample((draws,))  # (draws, modes, dim)
        temper = min(1.0, 0.01 ** (1 - 2 * used))
        value = temper * log_joint(z.flatten(0, 1)).reshape(draws, modes) - q.log_prob(z)
        loss = -(q.mixture_distribution.probs * value.mean(0)).sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([loc, raw, logits], 100.0)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * 0.02 ** max(0.0, 2 * used - 1)
        optimiser.step()

    @torch.no_grad()
    def draw(n: int) -> tuple[Tensor, Tensor]:
        z = mixture().sample((n,))
        return z, mixture().log_prob(z)

    return Approximation(draw, lambda z: mixture().log_prob(z))


RIVALS: dict[str, Callable[[Target, float], Approximation]] = {
    "AutoNormal": mean_field,
    "AutoMultivariateNormal": lambda t, s: autoguide(AutoMultivariateNormal, t, s),
    "AutoLowRankMultivariateNormal": lambda t, s: autoguide(AutoLowRankMultivariateNormal, t, s),
    "AutoIAFNormal": lambda t, s: autoguide(AutoIAFNormal, t, s),
    "zuko spline flow": spline_flow,
    "annealed Gaussian mixture": gaussian_mixture,
}
