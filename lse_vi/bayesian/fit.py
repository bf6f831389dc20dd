"""Fit of a Bayesian density: anneal draws of the prior, and train a guide if one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lse_vi.bayesian.annealing import Annealed, anneal
from lse_vi.bayesian.evidence import Evidence, moved_likelihood
from lse_vi.bayesian.model import BayesianDensity, check_density_data
from lse_vi.bayesian.normal_guides import NORMAL, find_mode, laplace_root, train
from lse_vi.bayesian.proposals import MOST_MODES, InFrame, Student, tail_shape
from lse_vi.bayesian.result import DensityPosterior
from lse_vi.checks import check_count, check_options
from lse_vi.coordinates.prior import Prior
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.fingerprint import digest
from lse_vi.fitting.random_state import seeded
from lse_vi.fitting.steps import Steps
from lse_vi.guides.fit import fit_guide
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.random.turns import alone, own_parameters
from lse_vi.signatures.checked import checked
from lse_vi.signatures.gradients import with_gradients
from lse_vi.tables.table import Table

MOST_COORDINATES = 10  # of guide "lse_icnn": in more, its rejection sampler accepts too few draws
LSE_MODES = 4  # at most, of guide "lse_icnn": in the frame a posterior is nearly normal
FEWEST = 500  # least number of draws that are annealed: with fewer, the evidence is too noisy
GUIDE_STEPS = 300  # of a guide's training: its misfit hardly falls afterwards
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
    bounds: Any = None,
    hidden: Sequence[int] | None = None,
    prior: Prior | None = None,
    units: tuple[Any, Any] | None = None,
    guide: str | None = None,
    annealed: bool = True,
    draws: int = 1000,
    steps: int = GUIDE_STEPS,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> DensityPosterior:
    r"""The posterior of a density with ``modes`` modes.

    Use it to know how sure a density, its peaks or its CDF are. If the number of modes is the
    question, use :func:`~lse_vi.count_modes`, which calls it for each number.

    Draws of the prior are carried to the posterior in stages (annealing by sequential Monte Carlo,
    Del Moral, Doucet & Jasra 2006), moved by Hamiltonian steps; the stages give the evidence too.
    A guide is for comparison: Adam climbs the log joint from several starts, the curvature at the
    best end gives a frame (Laplace), and there the guide is trained by stochastic gradients of the
    ELBO.

    Args:
        x: data (n, dim) or (n,), dim from 1 to 3, or a DataFrame. In the fit, the points of a cell
            are replaced: on a line by two with the same moments, in two dimensions from 8,192
            points on (three: 16,384) by their mean. The evidence is corrected for it, and
            ``print`` says by how much if that is more than a hundredth of a nat.
        value: where ``x`` is a DataFrame, the columns that hold the points; rows that miss an entry
            are left out.
        weights: of the points, (n,), or the name of a column: integers are counts, floating numbers
            are relative, as for :func:`~lse_vi.fit_density`. Under relative weights the posterior
            is one of a pseudo-likelihood, and its width that of (sum w)^2 / sum w^2 points.
        modes: number of modes K, at most 6.
        bounds: (low, high) of the support of data in one dimension, None for an open side, as (0,
            None) for waiting times. The law of each mode is then that given that x is inside.
        hidden: widths of the hidden layers of each mode's shape; (2 dim,) by default.
        prior: priors for standardised data; weakly informative by default.
        units: (shift, scale) that standardise the data, each a number or ``dim`` numbers; by
            default the mean and standard deviation of the data.
        guide: None (recommended), or the approximation to be judged by its k-hat: "full" (a normal
            with full covariance), "low_rank", "mean_field", "laplace" (not trained) or "lse_icnn"
            (:class:`~lse_vi.AutoLSEICNN`, for at most ten coordinates: one mode, or three Gaussian
            ones, in one dimension).
        annealed: return annealed draws. False returns draws of the guide. The evidence comes from
            the annealing either way.
        draws: number of draws.
        steps: number of Adam steps of the guide's training.
        seed: makes the result reproducible and leaves the global random state untouched.
        progress: show a bar.
        checkpoint: a file to write after each part of the fit; an interrupted fit called again with
            the same arguments goes on from it and ends where an uninterrupted one does.

    Raises:
        ValueError: if the data are empty, not finite, constant, too few, or of more than three
            dimensions, if points lie outside ``bounds`` or bounds are given
            in more than one, if ``modes`` is above 6, if the guide is unknown or not for so many
            coordinates, or if its draws are asked for without one.

    Example:
        >>> import torch
        >>> x = torch.cat([torch.randn(60) - 4, torch.randn(60) + 4])
        >>> post = fit_posterior(x, modes=2, progress=False)
        >>> max(post.mode_probabilities, key=post.mode_probabilities.get)
        2
    """
    table = Table.of(x, weights, value)
    given = (modes, bounds, hidden, prior, units, guide, annealed, draws, steps, seed)
    plan = Plan(*given).check()
    file = Checkpoint(checkpoint, lambda: plan.fingerprint(table))
    return posterior_of(table, plan, Steps(file), progress)


class Plan(NamedTuple):
    """How a posterior is found: the arguments of :func:`fit_posterior` that decide it."""

    modes: int
    bounds: Any
    hidden: Sequence[int] | None
    prior: Prior | None
    units: tuple[Any, Any] | None
    guide: str | None
    annealed: bool
    draws: int
    steps: int
    seed: int

    def check(self) -> Plan:
        """The plan, if its numbers and its guide are valid."""
        if self.guide is not None:
            check_options("guide", self.guide, GUIDES)
        elif not self.annealed:
            raise ValueError(
                "annealed=False asks for draws of a guide, but guide is None; name one of "
                f"{', '.join(GUIDES)}"
            )
        check_count("draws", self.draws)
        check_count("steps", self.steps)
        check_modes(self.modes)
        return self

    def model(self, table: Table) -> BayesianDensity:
        """The model of the data; its size must suit the guide."""
        kind: dict[str, Any] = {"hidden": self.hidden, "prior": self.prior, "units": self.units}
        given: dict[str, Any] = {"weights": table.weights, "bounds": self.bounds}
        model = BayesianDensity(table.x, modes=self.modes, **given, **kind)
        if self.guide == "lse_icnn" and model.size > MOST_COORDINATES:
            raise ValueError(
                f"guide 'lse_icnn' draws exactly by rejection, from at most {MOST_COORDINATES} "
                f"coordinates, but {self.modes} modes with hidden={model.coordinates.hidden} have "
                f"{model.size}; take another guide or none, fewer modes or hidden=()"
            )
        return model

    def fingerprint(self, table: Table) -> dict[str, Any]:
        """Fingerprints of the data and of the plan, for a checkpoint."""
        data = check_density_data(table.x, table.weights)
        return {"x": digest(data), "settings": digest([tuple(self)])}


def posterior_of(table: Table, plan: Plan, taken: Steps, progress: bool) -> DensityPosterior:
    """The posterior of :func:`fit_posterior`; the steps ``taken`` are not taken again."""
    draws, k_hat = plan.draws, None
    with alone(), seeded(plan.seed):
        whole = plan.model(table)
        model = whole.gathered()
        law = _law(model, plan, taken, progress) if plan.guide else None
        if law:
            k_hat = taken.take("k-hat", lambda: tail_shape(model, law(), TAIL_DRAWS * draws))
        most = max(draws, FEWEST)
        run: dict[str, Any] = {"progress": progress, "notes": taken}
        carried = Annealed(*taken.take("draws", lambda: tuple(anneal(model, most, **run))))
        # ``plan`` has a guide where its draws are asked for
        theta = carried.theta[:draws] if plan.annealed or not law else law().guide_sample(draws)
        moved = moved_likelihood(whole, model, carried.theta)
    return DensityPosterior(
        whole,
        theta.unsqueeze(0),
        source="annealed" if plan.annealed else f"guide {plan.guide}",
        evidence=moved.corrected(Evidence(carried.log_evidence, carried.log_evidence_error, k_hat)),
        gathered=moved if whole is not model else None,
        names=table.names,
    )


def _law(
    model: BayesianDensity, plan: Plan, taken: Steps, progress: bool
) -> Callable[[], Student | InFrame]:
    """The law of a guide around the posterior's mode, with heavier tails where it is normal."""
    center = taken.take("mode", lambda: find_mode(model, seed=plan.seed, progress=progress))
    prior_sd = model.coordinates.prior_sd
    root = taken.take("frame", lambda: laplace_root(model.unit_log_joint, center, prior_sd))
    if plan.guide == "lse_icnn":  # only where it is needed: trained anew after an interruption
        return cache(lambda: _multimodal(model.in_frame(center, root), plan.seed, progress))
    loc, factor = center, root
    if plan.guide in NORMAL:
        spread = root if plan.guide == "full" else root.square().sum(-1).sqrt().diag()
        framed, family = model.in_frame(center, spread), NORMAL[plan.guide]
        kind: dict[str, Any] = {"steps": plan.steps, "progress": progress}
        loc, factor = taken.take("guide", lambda: train(framed, family, **kind))
    return lambda: Student(loc, factor)


def _multimodal(framed: BayesianDensity, seed: int, progress: bool) -> InFrame:
    """An :class:`~lse_vi.AutoLSEICNN` fitted in a frame, with random numbers of its own."""
    lse = AutoLSEICNN(framed, modes=LSE_MODES)
    with own_parameters(), seeded(seed):
        fit_guide(framed, lse, seed=seed, progress=progress)
        law = lse.get_posterior()
        _ = law.log_normalizer  # by draws, which are kept
    return InFrame(law, framed)


def check_modes(modes: int) -> int:
    """``modes``; it must be small enough for a sum over all labellings of the modes."""
    if check_count("modes", modes) > MOST_MODES:
        raise ValueError(
            f"modes must be at most {MOST_MODES}, as the evidence sums over all their labellings, "
            f"but got {modes}; fit_density takes any number"
        )
    return modes
