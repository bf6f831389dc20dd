"""Fits of a Bayesian density: find the posterior's mode, then train a guide in its frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro
import torch

from lse_vi.bayesian.annealing import anneal, tail_shape
from lse_vi.bayesian.coordinates import Prior
from lse_vi.bayesian.laplace import find_mode, laplace_root
from lse_vi.bayesian.model import BayesianDensity
from lse_vi.bayesian.normal_guides import NORMAL, train
from lse_vi.bayesian.proposals import MOST_MODES, InFrame, Proposal, Student
from lse_vi.bayesian.result import DensityPosterior, Evidence
from lse_vi.checks import check_count, check_options
from lse_vi.fitting.random_state import seeded
from lse_vi.guides.fit import fit_guide
from lse_vi.guides.guide import AutoLSEICNN

MOST_COORDINATES = 10  # that "lse_icnn" draws exactly, by rejection
WIDER = 2.0  # times the guide: where annealing starts, to reach what the guide lacks
FEWEST = 500  # draws that are annealed
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
    with seeded(seed, "cpu"):
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
