"""Fits of a Bayesian density: find the posterior's mode, then train a guide in its frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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

from lse_vi.bayesian_density import BayesianDensity
from lse_vi.checks import check_count, check_options
from lse_vi.density_draws import MOST_MODES, InFrame, Proposal, Student, anneal, tail_shape
from lse_vi.density_posterior import DensityPosterior, Evidence
from lse_vi.fit_guide import fit_guide
from lse_vi.guide import AutoLSEICNN
from lse_vi.jacobian import jacobian
from lse_vi.mode_coordinates import Prior

RESTARTS, MODE_STEPS, MODE_RATE = 6, 250, 0.1  # of the search for the posterior's mode
PARTICLES, GUIDE_RATE, LAST_RATE = 8, 0.03, 0.05  # of the guide: the rate falls to a 20th
START = 0.5  # standard deviations of the guide at the start, in units of Laplace's
RANK = 5  # of the low-rank guide, besides its diagonal
MOST_COORDINATES = 10  # that "lse_icnn" draws exactly, by rejection
WIDER = 2.0  # times the guide: where annealing starts, to reach what the guide lacks
FEWEST = 500  # draws that are annealed

Family = Callable[[BayesianDensity], AutoGuide]
NORMAL: dict[str, Family] = {
    "full": lambda model: AutoMultivariateNormal(model, init_scale=START),
    "low_rank": lambda model: AutoLowRankMultivariateNormal(model, init_scale=START, rank=RANK),
    "mean_field": lambda model: AutoDiagonalNormal(model, init_scale=START),
}
GUIDES = (*NORMAL, "laplace", "lse_icnn")


def fit_posterior(
    x: Any,
    *,
    modes: int = 2,
    hidden: Sequence[int] | None = None,
    prior: Prior | None = None,
    units: tuple[Any, Any] | None = None,
    guide: str = "full",
    annealed: bool = True,
    draws: int = 1000,
    steps: int = 300,
    seed: int = 0,
    progress: bool = True,
) -> DensityPosterior:
    r"""The posterior of a density with ``modes`` modes, by variational inference.

    Adam climbs the log joint from several starts; the curvature at the best end gives a frame
    (Laplace), and in it the guide is trained by stochastic gradients of the ELBO.

    Args:
        x: data (n, dim) or (n,), dim from 1 to 3.
        modes: number of modes K, at most 6.
        hidden: widths of the hidden layers of each mode's shape; (2 dim,) by default.
        prior: priors for standardised data; weakly informative by default.
        units: (shift, scale) that standardise the data, by default their mean and deviation.
        guide: "full" (a normal with full covariance; recommended), "low_rank", "mean_field",
            "laplace" (not trained) or "lse_icnn" (:class:`~lse_vi.AutoLSEICNN`, for at most ten
            coordinates: one mode, or three Gaussian ones, in one dimension).
        annealed: draws of the posterior, reached by annealing from a Student's t twice as wide as
            the guide ("lse_icnn": from the guide); False for draws of the guide itself. The
            evidence comes from the annealing either way.
        draws: number of draws.
        steps: of the guide's training.
        seed: the global random state is left alone.
        progress: show a bar with the loss.

    Raises:
        ValueError: for data that are empty, not finite, constant, too few, or of more than three
            dimensions; for an unknown guide.

    Example:
        >>> x = torch.cat([torch.randn(60) - 4, torch.randn(60) + 4])
        >>> post = fit_posterior(x, modes=2, guide="laplace", progress=False)
        >>> max(post.mode_probabilities, key=post.mode_probabilities.get)
        2
    """
    check_options("guide", guide, GUIDES)
    check_count("draws", draws)
    check_count("steps", steps)
    check_modes(modes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BayesianDensity(x, modes=modes, hidden=hidden, prior=prior, units=units)
        if guide == "lse_icnn" and model.size > MOST_COORDINATES:
            raise ValueError(
                f"guide 'lse_icnn' draws exactly by rejection, from at most {MOST_COORDINATES} "
                f"coordinates, but {modes} modes with hidden={model.coordinates.hidden} have "
                f"{model.size}; take guide='full', fewer modes or hidden=()"
            )
        center = find_mode(model, seed=seed, progress=progress)
        root = laplace_root(model.log_joint, center, model.coordinates.prior_sd)
        near: Proposal
        wide: Proposal
        if guide == "lse_icnn":
            framed = model.in_frame(center, root)
            lse = AutoLSEICNN(framed, modes=4)
            with pyro.get_param_store().scope():  # a guide of the user's keeps its parameters
                fit_guide(framed, lse, seed=seed, progress=progress)
            near = wide = InFrame(lse.get_posterior(), framed)
        else:
            loc, factor = center, root
            if guide in NORMAL:
                spread = root if guide == "full" else root.square().sum(-1).sqrt().diag()
                framed = model.in_frame(center, spread)
                loc, factor = train(framed, NORMAL[guide], steps=steps, progress=progress)
            near, wide = Student(loc, factor), Student(loc, WIDER * factor)
        k_hat = tail_shape(model, near, 4 * draws)
        carried = anneal(model, wide, max(draws, FEWEST))
        if annealed:
            theta = carried.theta[:draws]
        elif guide == "lse_icnn":
            theta = near.sample(draws)
        else:
            theta = loc + torch.randn(draws, model.size).to(loc) @ factor.mT
    return DensityPosterior(
        model,
        theta.unsqueeze(0),
        source=f"guide {guide}" + (", annealed" if annealed else ""),
        evidence=Evidence(carried.log_evidence, carried.log_evidence_error, k_hat),
    )


def check_modes(modes: int) -> int:
    """``modes`` as a number of modes whose labellings can be summed over."""
    if check_count("modes", modes) > MOST_MODES:
        raise ValueError(
            f"modes must be at most {MOST_MODES}, as the evidence sums over all their labellings, "
            f"but got {modes}; fit_density takes any number"
        )
    return modes


def find_mode(model: BayesianDensity, *, seed: int = 0, progress: bool = False) -> Tensor:
    """The best of several ascents of the log joint by Adam, in one batch: (size,)."""
    theta = model.starts(RESTARTS, seed).requires_grad_()
    optimiser = torch.optim.Adam([theta])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, MODE_RATE, total_steps=MODE_STEPS, pct_start=0.1
    )
    bar = tqdm(range(MODE_STEPS), f"{model.modes} modes: posterior mode", disable=not progress)
    for _ in bar:
        optimiser.zero_grad()
        log_joint = model.log_joint(theta)
        (-log_joint.sum()).backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        log_joint = model.log_joint(theta).nan_to_num(nan=-torch.inf)
    return theta.detach()[log_joint.argmax()]


def laplace_root(log_joint: Callable[[Tensor], Tensor], theta: Tensor, prior_sd: Tensor) -> Tensor:
    """Cholesky factor of Laplace's covariance at ``theta`` (*batch, size): (*batch, size, size).

    Curvatures below the prior's (flat or upward directions of the likelihood) count as the
    prior's, so no direction is wider than the prior.

    Args:
        log_joint: (*batch, size) -> (*batch,).
        prior_sd: standard deviations of the prior, (size,).
    """
    theta = theta.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(log_joint(theta).sum(), theta, create_graph=True)
    both = prior_sd * prior_sd.unsqueeze(-1)
    hessian = -jacobian(gradient, theta) * both  # in units of the prior
    curvature, axes = torch.linalg.eigh((hessian + hessian.mT) / 2)
    covariance = (axes / curvature.clamp_min(1.0).unsqueeze(-2)) @ axes.mT
    return torch.linalg.cholesky(covariance * both)


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
