"""A density's posterior in ArviZ, with named dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import arviz
import numpy as np
import torch
from torch import Tensor

from lse_vi.arviz_export.gather import assemble, attributes
from lse_vi.bayesian.model import BayesianDensity
from lse_vi.bayesian.result import DensityPosterior, check_unweighted
from lse_vi.fitting.random_state import seeded
from lse_vi.numerics.arrays import as_points
from lse_vi.signatures.checked import checked

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


@checked
def density_to_arviz(posterior: DensityPosterior, grid: Any = None, *, seed: int = 0) -> Any:
    """The posterior of a density as ArviZ sees it, with named dimensions.

    Use it for ArviZ's plots, summaries and files.

    The groups are ``posterior`` (mass, mean and width of each convex part, slopes, bends and
    strengths of its shape, the number of peaks, and the density on a grid), ``prior`` (the same
    without the density), ``log_likelihood``, ``posterior_predictive``, ``prior_predictive``,
    ``observed_data``, ``constant_data`` (location and scale of the data, in whose units the prior
    is) and ``sample_stats``. The dimensions are part, layer, unit, grid, point and axis; data of
    one coordinate have no axis. Parts may swap their labels between draws. So R-hat and ESS are
    meaningful for the density, but not for values with the dimension part.

    Args:
        posterior: from :func:`~lse_vi.fit_posterior` or :func:`~lse_vi.sample_posterior`.
        grid: points (n, dim) or (n,) at which the density is given; by default on the range of the
            data in one dimension, and none in more.
        seed: of the prior and of the predictive draws.

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
    check_unweighted(posterior)
    model, theta = posterior.model, posterior.theta
    at = model.coordinates
    lead = theta.shape[:2]
    values, dims, coords = _labelled(model, theta, posterior.peaks.number)
    if grid is None and model.dim == 1:
        low, high = float(model.x.min()), float(model.x.max())
        grid = torch.linspace(low, high, DENSITY_POINTS)
    if grid is not None:
        grid = as_points("grid", grid)
        values["density"] = posterior.density(grid).unflatten(0, lead)
        dims["density"] = ["grid"]
        points = grid.numpy()
        flat = points.ndim == 1 or points.shape[-1] == 1
        coords["grid"] = points.ravel() if flat else np.arange(len(points))
    with seeded(seed):
        before = model.prior_sample(lead.numel()).unsqueeze(0)
    prior = DensityPosterior(model, before, source="prior")
    drawn = posterior.predictive(lead.numel(), seed=seed).unflatten(0, lead)
    drawn_before = prior.predictive(lead.numel(), seed=seed).unsqueeze(0)
    arrays = {
        "posterior": _arrays(values),
        "log_likelihood": {"x": posterior.log_likelihood().numpy()},
        "posterior_predictive": _arrays({"x": _points(drawn)}),
        "prior": _arrays(_labelled(model, before, prior.peaks.number).values),
        "prior_predictive": _arrays({"x": _points(drawn_before)}),
        "observed_data": _arrays({"x": _points(model.x)}),
        "constant_data": _arrays({"location": at.shift, "scale": at.scale}),
    }
    if posterior.stats:
        arrays["sample_stats"] = posterior.stats
    attrs = attributes() | {"source": posterior.source}
    if posterior.evidence:
        known = posterior.evidence._asdict().items()
        attrs |= {name: value for name, value in known if value is not None}
    return assemble(arviz, arrays, coords, dims, attrs)


def _arrays(values: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: value.numpy() for name, value in values.items()}


def _points(values: Tensor) -> Tensor:
    """Points (*shape, dim) as (*shape) in one dimension, which needs no axis."""
    return values.squeeze(-1) if values.shape[-1] == 1 else values


def _labelled(model: BayesianDensity, theta: Tensor, peaks: Tensor) -> Labelled:
    """Mass, mean, width and shape of each part of the draws ``theta``, and the number of peaks.

    Args:
        model: of the density.
        theta: (chain, draw, size).
        peaks: of each draw, (chain * draw,).
    """
    at = model.coordinates
    parts = at.split(theta)
    values: dict[str, Tensor] = {
        "mass": at.masses(theta),
        "mean": _points(at.shift + at.scale * parts["mean"]),
        "width": _points((-parts["log_scale"]).exp() * at.scale),
        "peaks": peaks.unflatten(0, theta.shape[:2]),
    }
    axis: list[str | None] = ["axis"] if model.dim > 1 else []
    dims: dict[str, list[str | None]] = {
        "mass": ["part"],
        "mean": ["part", *axis],
        "width": ["part", *axis],
        "peaks": [],
        "x": ["point", *axis],  # the log-likelihood, one number per point, takes the first only
        "location": ["axis"],
        "scale": ["axis"],
    }
    coords: dict[str, Any] = {"part": np.arange(model.modes), "axis": np.arange(model.dim)}
    coords["point"] = np.arange(len(model.x))
    if at.hidden:
        most = max(at.hidden)
        coords |= {"layer": np.arange(len(at.hidden)), "unit": np.arange(most)}
        for name, meaning in (("slope", at.slopes(parts)), ("bend", parts["bend"])):
            values[name], dims[name] = _by_layer(meaning, at.hidden), ["part", "layer", "unit"]
        strength = torch.nn.functional.softplus(parts["strength"]) / at.hidden[-1]
        last = _by_layer(strength.squeeze(-2), at.hidden[-1:], most)
        values["strength"], dims["strength"] = last[..., 0, :], ["part", "unit"]
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
