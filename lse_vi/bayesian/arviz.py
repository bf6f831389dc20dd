"""A density's posterior in ArviZ: named dimensions, leave-one-out scores, comparison of models."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import arviz
import numpy as np
import pyro
import torch
from torch import Tensor

from lse_vi.arviz_export.gather import assemble
from lse_vi.bayesian.result import DensityPosterior

DENSITY_POINTS = 200  # of the default grid on the data's range: enough for a smooth curve


class Labelled(NamedTuple):
    """Values of the group ``posterior`` (chain, draw, *shape), and the labels of their dimensions.

    Attributes:
        values: by name.
        dims: names of the dimensions ``*shape`` of each value.
        coords: labels along each dimension.
    """

    values: dict[str, Tensor]
    dims: dict[str, list[str | None]]
    coords: dict[str, Any]


def density_to_arviz(posterior: DensityPosterior, grid: Any = None, *, seed: int = 0) -> Any:
    """The posterior of a density as ArviZ sees it, with named dimensions.

    Use it for ArviZ's plots, summaries and files.

    The groups are ``posterior`` (mass, mean and width of each mode, slopes, bends and strengths of
    its shape, the number of peaks, and the density on a grid), ``log_likelihood``,
    ``posterior_predictive``, ``observed_data`` and ``sample_stats``; the dimensions are mode,
    axis, layer, unit, grid and point. Modes may swap their labels between draws. So R-hat and ESS
    are meaningful for the density, but not for values with the dimension mode.

    Args:
        posterior: from :func:`~lse_vi.fit_posterior` or :func:`~lse_vi.sample_posterior`.
        grid: points (n, dim) or (n,) at which the density is given; by default on the range of the
            data in one dimension, and none in more.
        seed: of the predictive draws.

    Raises:
        ValueError: for points with weights.

    Returns:
        ``arviz.InferenceData`` (ArviZ 0.x) or ``xarray.DataTree`` (ArviZ 1.x).

    Example:
        >>> from lse_vi import fit_posterior
        >>> fit = fit_posterior(torch.randn(30), modes=2, draws=50, steps=20, progress=False)
        >>> dict(density_to_arviz(fit)["posterior"]["density"].sizes)
        {'chain': 1, 'draw': 50, 'grid': 200}
    """
    model, theta = posterior.model, posterior.theta
    lead = tuple(theta.shape[:2])
    values, dims, coords = _labelled(posterior)
    if grid is None and model.dim == 1:
        low, high = float(model.x.min()), float(model.x.max())
        grid = torch.linspace(low, high, DENSITY_POINTS)
    if grid is not None:
        values["density"] = posterior.density(grid).unflatten(0, lead)
        dims["density"] = ["grid"]
        points = torch.as_tensor(grid).numpy()
        flat = points.ndim == 1 or points.shape[-1] == 1
        coords["grid"] = points.ravel() if flat else np.arange(len(points))
    _check_unweighted(posterior)
    predictive = posterior.predictive(theta.shape[:2].numel(), seed=seed)
    arrays = {
        "posterior": {name: value.numpy() for name, value in values.items()},
        "log_likelihood": {"x": posterior.log_likelihood().numpy()},
        "posterior_predictive": {"x": predictive.unflatten(0, lead).numpy()},
        "observed_data": {"x": model.x.numpy()},
    }
    if posterior.stats:
        arrays["sample_stats"] = posterior.stats
    attrs: dict[str, Any] = {
        "inference_library": "pyro",
        "inference_library_version": pyro.__version__,
        "source": posterior.source,
    }
    if posterior.evidence:
        attrs |= posterior.evidence._asdict()
    return assemble(arviz, arrays, coords, dims, attrs)


def leave_one_out(posterior: DensityPosterior) -> Any:
    """ArviZ's PSIS-LOO: ``elpd_loo``, ``se``, ``p_loo``, and ``pareto_k`` of each point.

    Raises:
        ValueError: for points with weights, of which to leave out one means nothing.
    """
    _check_unweighted(posterior)
    arrays = {
        "posterior": {"theta": posterior.theta.numpy()},
        "log_likelihood": {"x": posterior.log_likelihood().numpy()},
    }
    return arviz.loo(assemble(arviz, arrays, {}, {}, {}), pointwise=True)


def compare_densities(posteriors: Mapping[Hashable, DensityPosterior]) -> Any:
    """Posteriors of the same data compared by leave-one-out scores (``arviz.compare``).

    Use it to choose between numbers of modes, sizes of the network or priors by how well they
    predict new data.

    Args:
        posteriors: by any name, e.g. those of ``count_modes(x).posteriors``.

    Returns:
        A pandas table, best first. It has the columns of ``arviz.compare``, ``worst_k`` (the
        largest Pareto shape of the leave-one-out weights; above 0.7 the score is unreliable), and
        ``log_evidence`` in nats (NaN for a Markov chain).

    Example:
        >>> from lse_vi import fit_posterior
        >>> x = torch.randn(40)
        >>> fits = {
        ...     h: fit_posterior(x, modes=1, hidden=h, draws=100, steps=50, progress=False)
        ...     for h in ((), (2,))
        ... }
        >>> len(compare_densities(fits))
        2
    """
    with warnings.catch_warnings():
        # The warning says that Pareto shapes are high; the table has them in a column.
        warnings.filterwarnings("ignore", message="Estimated shape parameter of Pareto")
        # ArviZ 0.23 passes a keyword to pandas that pandas 3.1 deprecates.
        warnings.filterwarnings("ignore", message="The inplace keyword")
        scores = {str(name): leave_one_out(p) for name, p in posteriors.items()}
        table = arviz.compare(scores)
    table["worst_k"] = [float(scores[name].pareto_k.max()) for name in table.index]
    evidences = {str(name): p.evidence for name, p in posteriors.items()}
    table["log_evidence"] = [
        e.log_evidence if (e := evidences[name]) else math.nan for name in table.index
    ]
    return table


def _check_unweighted(posterior: DensityPosterior) -> None:
    """Points with weights have no log-likelihood of their own each."""
    if bool((posterior.model.weights != 1).any()):
        raise ValueError(
            "posterior is of points with weights, for which leave-one-out scores mean nothing; "
            "repeat points that are counted, as by x.repeat(counts), or compare log evidences"
        )


def _labelled(posterior: DensityPosterior) -> Labelled:
    """Mass, mean, width and shape of each mode, and the number of peaks."""
    model, theta = posterior.model, posterior.theta
    at = model.coordinates
    parts = at.split(theta)
    values: dict[str, Tensor] = {
        "mass": at.masses(theta),
        "mean": at.shift + at.scale * parts["mean"],
        "width": (-parts["log_scale"]).exp() * at.scale,
        "peaks": posterior.peaks.number.unflatten(0, theta.shape[:2]),
    }
    dims: dict[str, list[str | None]] = {
        "mass": ["mode"],
        "mean": ["mode", "axis"],
        "width": ["mode", "axis"],
        "peaks": [],
        "x": ["point", "axis"],  # the log-likelihood, one number per point, takes the first only
    }
    coords: dict[str, Any] = {"mode": np.arange(model.modes), "axis": np.arange(model.dim)}
    coords["point"] = np.arange(len(model.x))
    if at.hidden:
        most = max(at.hidden)
        coords |= {"layer": np.arange(len(at.hidden)), "unit": np.arange(most)}
        for name, meaning in (("slope", at.slopes(parts)), ("bend", parts["bend"])):
            values[name], dims[name] = _by_layer(meaning, at.hidden), ["mode", "layer", "unit"]
        strength = torch.nn.functional.softplus(parts["strength"]) / at.hidden[-1]
        last = _by_layer(strength.squeeze(-2), at.hidden[-1:], most)
        values["strength"], dims["strength"] = last[..., 0, :], ["mode", "unit"]
    return Labelled(values, dims, coords)


def _by_layer(values: Tensor, widths: tuple[int, ...], room: int | None = None) -> Tensor:
    """Values of all units (..., units) as (..., layers, room), NaN where a layer has no unit.

    Args:
        widths: of the layers.
        room: the widest layer, unless it is not among ``widths``.
    """
    ends = np.cumsum((0, *widths))
    rows = [
        torch.nn.functional.pad(
            values[..., a:b], (0, (room or max(widths)) - int(b - a)), value=torch.nan
        )
        for a, b in pairwise(ends)
    ]
    return torch.stack(rows, dim=-2)
