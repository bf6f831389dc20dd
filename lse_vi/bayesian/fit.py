"""Fit of a Bayesian density: find the posterior's mode, train a guide there, anneal its draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro

from lse_vi.bayesian.annealing import anneal, tail_shape
from lse_vi.bayesian.coordinates import Prior
from lse_vi.bayesian.laplace import find_mode, laplace_root
from lse_vi.bayesian.model import BayesianDensity
from lse_vi.bayesian.normal_guides import NORMAL, train
from lse_vi.bayesian.proposals import MOST_MODES, InFrame, Proposal, Student
from lse_vi.bayesian.result import DensityPosterior, Evidence, moved_likelihood
from lse_vi.checks import check_count, check_options
from lse_vi.fitting.random_state import seeded
from lse_vi.guides.fit import fit_guide
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.random.draws import randn
from lse_vi.random.turns import taking_turns
from lse_vi.signatures.checked import checked
from lse_vi.signatures.gradients import with_gradients
from lse_vi.tables.table import Table

MOST_COORDINATES = 10  # of guide "lse_icnn": in more, its rejection sampler accepts too few draws
LSE_MODES = 4  # at most, of guide "lse_icnn": in the frame a posterior is nearly normal
WIDER = (
    2.0  # width of the law that annealing starts from, in units of the guide's, often too narrow
)
FEWEST = 500  # least number of draws that are annealed: with fewer, the evidence is too noisy
TAIL_DRAWS = 4  # times ``draws``, for k-hat: it is fitted to the few largest weights alone
GUIDES = (*NORMAL, "laplace", "lse_icnn")


@checked
@with_gradients()
def fit_posterior(
    x: Any,
    *,
    value: str | Sequence[str] | None = None,
    weights: Any = None,
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

    Use it to know how sure a density, its peaks or its CDF are. If the number of modes is the
    question, use :func:`~lse_vi.count_modes`, which calls it for each number.

    Adam climbs the log joint from several starts. The curvature at the best end gives a frame
    (Laplace), in which the guide is trained by stochastic gradients of the ELBO. Annealing
    (Del Moral, Doucet & Jasra 2006) carries the guide's draws to the posterior.

    Args:
        x: data (n, dim) or (n,), dim from 1 to 3, or a DataFrame. More than 2,048 points (8,192 in
            two dimensions, 16,384 in three) are gathered in cells of few for the fit; the evidence
            is corrected for it, and ``print`` says by how much.
        value: where ``x`` is a DataFrame, the columns that hold the points; rows that miss an entry
            are left out.
        weights: of the points, (n,), or the name of a column: integers are counts, floating numbers
            are relative, as for :func:`~lse_vi.fit_density`. Under relative weights the posterior
            is one of a pseudo-likelihood, and its width that of (sum w)^2 / sum w^2 points.
        modes: number of modes K, at most 6.
        hidden: widths of the hidden layers of each mode's shape; (2 dim,) by default.
        prior: priors for standardised data; weakly informative by default.
        units: (shift, scale) that standardise the data, each a number or ``dim`` numbers; by
            default the mean and standard deviation of the data.
        guide: "full" (a normal with full covariance; recommended), "low_rank", "mean_field",
            "laplace" (not trained) or "lse_icnn" (:class:`~lse_vi.AutoLSEICNN`, for at most ten
            coordinates: one mode, or three Gaussian ones, in one dimension).
        annealed: return draws of the posterior, by annealing from a Student's t twice as wide as
            the guide ("lse_icnn": from the guide). False returns draws of the guide itself. The
            evidence comes from the annealing either way.
        draws: number of draws.
        steps: number of Adam steps of the guide's training.
        seed: makes the result reproducible and leaves the global random state untouched.
        progress: show a bar with the loss.

    Raises:
        ValueError: if the data are empty, not finite, constant, too few, or of more than three
            dimensions, if ``modes`` is above 6, or if the guide is unknown or not for so many
            coordinates.

    Example:
        >>> import torch
        >>> x = torch.cat([torch.randn(60) - 4, torch.randn(60) + 4])
        >>> post = fit_posterior(x, modes=2, guide="laplace", progress=False)
        >>> max(post.mode_probabilities, key=post.mode_probabilities.get)
        2
    """
    check_options("guide", guide, GUIDES)
    check_count("draws", draws)
    check_count("steps", steps)
    check_modes(modes)
    with taking_turns(), seeded(seed):
        table = Table.of(x, weights, value)
        kind: dict[str, Any] = {"hidden": hidden, "prior": prior, "units": units}
        model = BayesianDensity(table.x, modes=modes, weights=table.weights, **kind)
        if guide == "lse_icnn" and model.size > MOST_COORDINATES:
            raise ValueError(
                f"guide 'lse_icnn' draws exactly by rejection, from at most {MOST_COORDINATES} "
                f"coordinates, but {modes} modes with hidden={model.coordinates.hidden} have "
                f"{model.size}; take guide='full', fewer modes or hidden=()"
            )
        whole, model = model, model.gathered()
        center = find_mode(model, seed=seed, progress=progress)
        root = laplace_root(model.unit_log_joint, center, model.coordinates.prior_sd)
        near: Proposal
        wide: Proposal
        if guide == "lse_icnn":
            framed = model.in_frame(center, root)
            lse = AutoLSEICNN(framed, modes=LSE_MODES)
            with pyro.get_param_store().scope():  # leaves the user's parameters alone
                fit_guide(framed, lse, seed=seed, progress=progress)
            near = wide = InFrame(lse.get_posterior(), framed)
        else:
            loc, factor = center, root
            if guide in NORMAL:
                spread = root if guide == "full" else root.square().sum(-1).sqrt().diag()
                framed = model.in_frame(center, spread)
                loc, factor = train(framed, NORMAL[guide], steps=steps, progress=progress)
            near, wide = Student(loc, factor), Student(loc, WIDER * factor)
        k_hat = tail_shape(model, near, TAIL_DRAWS * draws)
        carried = anneal(model, wide, max(draws, FEWEST))
        if annealed:
            theta = carried.theta[:draws]
        elif guide == "lse_icnn":
            theta = near.sample(draws)
        else:
            theta = loc + randn(draws, model.size).to(loc) @ factor.mT
        moved = moved_likelihood(whole, model, carried.theta)
    return DensityPosterior(
        whole,
        theta.unsqueeze(0),
        source=f"guide {guide}" + (", annealed" if annealed else ""),
        evidence=moved.corrected(Evidence(carried.log_evidence, carried.log_evidence_error, k_hat)),
        gathered=moved if whole is not model else None,
        names=table.names,
    )


def check_modes(modes: int) -> int:
    """``modes``; it must be small enough for a sum over all labellings of the modes."""
    if check_count("modes", modes) > MOST_MODES:
        raise ValueError(
            f"modes must be at most {MOST_MODES}, as the evidence sums over all their labellings, "
            f"but got {modes}; fit_density takes any number"
        )
    return modes
