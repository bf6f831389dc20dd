"""Pyro posteriors as ArviZ objects: draws, log-likelihood and predictions with named dimensions.

:func:`gather` makes plain arrays of a posterior and its model, :func:`assemble` hands them to the
ArviZ that is installed. A plate of the model becomes a dimension of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import arviz
import numpy as np
import pyro
import torch
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Size

from lse_vi.arviz_export.model_runs import Draws, Program, Unobserve, draw_at, run, trace_given
from lse_vi.arviz_export.model_sites import Sites
from lse_vi.checks import check_count
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.guides.weighted_draws import weighted_draws


class Groups(NamedTuple):
    """``arrays[group][site]`` (chain, draw, *shape), or (*shape) for data; names of *shape."""

    arrays: dict[str, dict[str, np.ndarray]]
    dims: dict[str, list[str | None]]


def to_arviz(
    posterior: Callable[..., Any] | Mapping[str, Any],
    model: Callable[..., Any],
    *args: Any,
    num_samples: int = 1000,
    parallel: bool = False,
    prior: bool = True,
    sample_stats: Mapping[str, Any] | None = None,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    resample: bool = False,
    seed: int | None = None,
    **kwargs: Any,
) -> Any:
    r"""A posterior of a Pyro model as ArviZ sees it, ready for ``az.loo``, ``az.plot_ppc``, ...

    The groups are ``posterior`` (latent and deterministic sites), ``log_likelihood`` (of each
    observation, scaled and masked as in the model), ``posterior_predictive``, ``sample_stats``,
    ``prior``, ``prior_predictive`` and ``observed_data``; a group with nothing in it is absent.
    ``pyro.factor`` terms are no data and are left out. Batch dimensions are named after their
    plates.

    Args:
        posterior: a guide, called as ``posterior(*args, **kwargs)``, or draws of every latent site,
            (chain, draw, *shape), as from ``mcmc.get_samples(group_by_chain=True)``.
        model: the Pyro model, called with ``*args`` and ``**kwargs``, its data among them.
        num_samples: draws from the guide (one chain of them), and from the prior.
        parallel: run all draws at once in an outermost plate, as in ``pyro.infer.Predictive``;
            every batch dimension of the model must then be a plate.
        prior: draw from the prior too; it must be proper.
        sample_stats: statistics (chain, draw, *shape) of given draws, e.g. log weights.
        coords: labels along dimensions, for ArviZ.
        dims: names of the dimensions of a site, in place of those of its plates.
        resample: take the draws of an :class:`~lse_vi.AutoLSEICNN` by Pareto-smoothed importance
            weights, which makes up for what the guide lacks where k-hat is below 0.7. With or
            without it ``sample_stats`` holds their log weights, and the attributes k-hat, the
            effective sample size, the ELBO and the log evidence.
        seed: makes the result reproducible and leaves the global random state untouched.

    Returns:
        ``arviz.InferenceData`` (ArviZ 0.x) or ``xarray.DataTree`` (ArviZ 1.x).

    Raises:
        TypeError: if ``posterior`` is neither a guide nor a mapping.
        ValueError: if draws are missing, unequal in number or of the wrong shape, if data do not
            fit their site, if a plate is subsampled, or if the prior is improper.

    Example:
        >>> import pyro.distributions as dist
        >>> from pyro.infer.autoguide import AutoNormal
        >>> def model(y):
        ...     level = pyro.sample("level", dist.Normal(0.0, 1.0))
        ...     with pyro.plate("time", len(y)):
        ...         pyro.sample("y", dist.Normal(level, 1.0), obs=y)
        >>> idata = to_arviz(AutoNormal(model), model, torch.zeros(5), num_samples=20)
        >>> dict(idata["log_likelihood"]["y"].sizes)
        {'chain': 1, 'draw': 20, 'time': 5}
    """
    attrs: dict[str, Any] = {
        "inference_library": "pyro",
        "inference_library_version": pyro.__version__,
    }
    if seed is not None:
        attrs["seed"] = seed
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        if isinstance(posterior, AutoLSEICNN) and posterior.is_for(model):
            weighted = weighted_draws(
                posterior, *args, num_samples=num_samples, resample=resample, **kwargs
            )
            posterior, attrs = weighted.values, attrs | weighted.attrs
            sample_stats = {**weighted.sample_stats, **(sample_stats or {})}
        elif resample:
            raise ValueError(
                "resample needs importance weights, which only an AutoLSEICNN of this very model "
                f"has, but posterior is {type(posterior).__name__}"
            )
        groups = gather(
            partial(posterior, *args, **kwargs) if callable(posterior) else posterior,
            partial(model, *args, **kwargs),
            num_samples=check_count("num_samples", num_samples),
            parallel=parallel,
            prior=prior,
            sample_stats=sample_stats or {},
        )
    return assemble(arviz, groups.arrays, coords or {}, {**groups.dims, **(dims or {})}, attrs)


def assemble(
    library: Any,
    arrays: Mapping[str, Mapping[str, np.ndarray]],
    coords: Mapping[str, Sequence[Any]],
    dims: Mapping[str, Sequence[str | None]],
    attrs: Mapping[str, Any],
) -> Any:
    """The object that ``library``, ArviZ 0.x or 1.x, makes of ``arrays[group][site]``."""
    labels = {"coords": dict(coords), "dims": dict(dims)}
    if "posterior" in signature(library.from_dict).parameters:  # 0.x: a keyword for each group
        of_groups = {f"{group}_attrs": dict(attrs) for group in arrays}
        return library.from_dict(**arrays, **labels, attrs=dict(attrs), **of_groups)
    of_groups = {group: dict(attrs) for group in ("/", *arrays)}
    return library.from_dict(arrays, **labels, attrs=of_groups)


@torch.no_grad()
def gather(
    posterior: Program | Mapping[str, Any],
    model: Program,
    *,
    num_samples: int,
    parallel: bool,
    prior: bool,
    sample_stats: Mapping[str, Any],
) -> Groups:
    """All groups as arrays; the arguments of :func:`to_arviz`, with those of the model bound."""
    if isinstance(posterior, Mapping):
        lead, draws = _flatten(posterior, sample_stats)
    elif not callable(posterior):
        raise TypeError(
            "posterior must be a guide or a mapping of draws, e.g. "
            f"mcmc.get_samples(group_by_chain=True), but got {type(posterior).__name__}"
        )
    elif sample_stats:
        raise ValueError(
            "sample_stats must describe given draws, but posterior is a guide, still to be drawn "
            "from; pass posterior={site: draws} with their sample_stats"
        )
    else:
        lead = Size((1, num_samples))
        draws = run(posterior, _sampled, {}, num_samples, parallel)

    sites = Sites(trace_given(model, draw_at(draws, 0)))
    draws = sites.select(draws, exact=isinstance(posterior, Mapping))
    parameters, data = sites.latent + sites.computed, sites.observed
    predictive = Unobserve(data)(model)

    scored = run(model, sites.scores, draws, lead.numel(), parallel)
    if parallel:
        sites.check(scored)
    groups = {
        "posterior": sites.arrays(parameters, {**draws, **scored}, lead),
        "log_likelihood": sites.arrays(data, scored, lead),
        "sample_stats": {name: np.asarray(value) for name, value in sample_stats.items()},
        "observed_data": sites.arrays(data, sites.data, Size()),
    }
    if data:
        drawn = run(predictive, sites.values, draws, lead.numel(), parallel)
        groups["posterior_predictive"] = sites.arrays(data, drawn, lead)
    if prior:
        try:
            drawn = run(predictive, sites.values, {}, num_samples, parallel)
        except NotImplementedError as error:
            raise ValueError(
                "prior: the model has a site that cannot be drawn from; pass prior=False"
            ) from error
        groups["prior"] = sites.arrays(parameters, drawn, Size((1, num_samples)))
        groups["prior_predictive"] = sites.arrays(data, drawn, Size((1, num_samples)))
    dims = {name: axes.names for name, axes in sites.axes.items()}
    return Groups({group: arrays for group, arrays in groups.items() if arrays}, dims)


def _flatten(posterior: Mapping[str, Any], sample_stats: Mapping[str, Any]) -> tuple[Size, Draws]:
    """The shape (chain, draw) that all have in common, and draws (chain * draw, *shape)."""
    draws = {name: torch.as_tensor(value) for name, value in posterior.items()}
    shapes = {name: tuple(np.shape(value)) for name, value in {**draws, **sample_stats}.items()}
    leads = {shape[:2] for shape in shapes.values()}
    lead = leads.pop() if len(leads) == 1 and draws else ()
    if len(lead) < 2 or 0 in lead:
        raise ValueError(
            "posterior and sample_stats must have shapes (chain, draw, *shape), with the same "
            f"chains and draws for all, but got {shapes}"
        )
    return Size(lead), {name: value.flatten(0, 1) for name, value in draws.items()}


def _sampled(trace: Trace) -> Draws:
    return {
        name: site["value"]
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site["is_observed"] and not site_is_subsample(site)
    }
