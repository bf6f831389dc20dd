"""A density's posterior for ArviZ: named dimensions, leave-one-out scores, comparison of models."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Mapping
from itertools import pairwise
from typing import Any

import arviz
import numpy as np
import pyro
import torch
from torch import Tensor

from lse_vi.arviz_export.gather import assemble
from lse_vi.bayesian.result import DensityPosterior

DENSITY_POINTS = 200  # points of the density on the data's range, in one dimension


def density_to_arviz(posterior: DensityPosterior, grid: Any = None, *, seed: int = 0) -> Any:
    """The posterior of a density as ArviZ sees it, with named dimensions.

    The groups are ``posterior`` (mass, mean and width of each mode, slopes, bends and strengths of
    its shape, the number of peaks, and the density on a grid), ``log_likelihood``,
    ``posterior_predictive``, ``observed_data`` and ``sample_stats``; the dimensions mode, axis,
    layer, unit, grid and point. Modes may swap their labels between draws: R-hat and ESS mean
    something for the density, not for what has the dimension mode.

    Args:
        posterior: from :func:`fit_posterior` or :func:`sample_posterior`.
        grid: points (n, dim) or (n,) of the density; by default on the range of the data in one
            dimension, none in more.
        seed: of the predictive draws.

    Returns:
        ``arviz.InferenceData`` (ArviZ 0.x) or ``xarray.DataTree`` (ArviZ 1.x).

    Example:
        >>> from lse_vi import fit_posterior
        >>> fit = fit_posterior(torch.randn(30), modes=2, draws=50, steps=20, progress=False)
        >>> dict(density_to_arviz(fit)["posterior"]["density"].sizes)
        {'chain': 1, 'draw': 50, 'grid': 200}
    """
    model, theta = posterior.model, posterior.theta
    at, lead = model.coordinates, tuple(theta.shape[:2])
    parts = at.split(theta)
    deviation = (-parts["log_scale"]).exp() * at.scale
    values: dict[str, Tensor] = {
        "mass": at.masses(theta),
        "mean": at.shift + at.scale * parts["mean"],
        "width": deviation,
        "peaks": posterior.peaks.number.unflatten(0, lead),
    }
    dims: dict[str, list[str | None]] = {
        "mass": ["mode"],
        "mean": ["mode", "axis"],
        "width": ["mode", "axis"],
        "peaks": [],
        "x": ["point", "axis"],
    }
    coords: dict[str, Any] = {"mode": np.arange(model.modes), "axis": np.arange(model.dim)}
    coords["point"] = np.arange(len(model.x))
    if at.hidden:
        coords |= {"layer": np.arange(len(at.hidden)), "unit": np.arange(max(at.hidden))}
        for name, meaning in (("slope", at.slopes(parts)), ("bend", parts["bend"])):
            values[name], dims[name] = _by_layer(meaning, at.hidden), ["mode", "layer", "unit"]
        strength = torch.nn.functional.softplus(parts["strength"]) / at.hidden[-1]
        values["strength"] = _by_layer(strength.squeeze(-2), at.hidden[-1:], max(at.hidden))[
            ..., 0, :
        ]
        dims["strength"] = ["mode", "unit"]
    if grid is None and model.dim == 1:
        low, high = float(model.x.min()), float(model.x.max())
        grid = torch.linspace(low, high, DENSITY_POINTS)
    if grid is not None:
        values["density"] = posterior.density(grid).unflatten(0, lead)
        dims["density"] = ["grid"]
        points = torch.as_tensor(grid).numpy()
        flat = points.ndim == 1 or points.shape[-1] == 1
        coords["grid"] = points.ravel() if flat else np.arange(len(points))
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
    # the log-likelihood has no axis: one number for each point
    return assemble(arviz, arrays, coords, dims, attrs)


def leave_one_out(posterior: DensityPosterior) -> Any:
    """ArviZ's PSIS-LOO, with ``elpd_loo``, ``se``, ``p_loo`` and ``pareto_k`` of each point."""
    arrays = {
        "posterior": {"theta": posterior.theta.numpy()},
        "log_likelihood": {"x": posterior.log_likelihood().numpy()},
    }
    return arviz.loo(assemble(arviz, arrays, {}, {}, {}), pointwise=True)


def compare_densities(posteriors: Mapping[Hashable, DensityPosterior]) -> Any:
    """Posteriors of the same data compared by ``arviz.compare``, e.g. over K or network sizes.

    Args:
        posteriors: by any name: ``count.posteriors``, say, or one for each ``hidden``.

    Returns:
        A pandas table, best first. Two of its columns are ours, ``worst_k``, the largest Pareto
        shape of the leave-one-out weights, and ``log_evidence`` (NaN for a chain).

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
        # What it warns of, Pareto shapes above the threshold, is a column of the table instead.
        warnings.filterwarnings("ignore", message="Estimated shape parameter of Pareto")
        # ArviZ 0.23 asks pandas 3.1 in a way that is on its way out.
        warnings.filterwarnings("ignore", message="The inplace keyword")
        scores = {str(name): leave_one_out(p) for name, p in posteriors.items()}
        table = arviz.compare(scores)
    table["worst_k"] = [float(scores[name].pareto_k.max()) for name in table.index]
    evidences = {str(name): p.evidence for name, p in posteriors.items()}
    table["log_evidence"] = [
        e.log_evidence if (e := evidences[name]) else math.nan for name in table.index
    ]
    return table


def _by_layer(values: Tensor, widths: tuple[int, ...], room: int | None = None) -> Tensor:
    """Values of all units (..., units) as (..., layers, widest), NaN where a layer has none."""
    ends = np.cumsum((0, *widths))
    rows = [
        torch.nn.functional.pad(
            values[..., a:b], (0, (room or max(widths)) - int(b - a)), value=torch.nan
        )
        for a, b in pairwise(ends)
    ]
    return torch.stack(rows, dim=-2)
