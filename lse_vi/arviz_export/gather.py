"""The groups of a posterior as plain arrays, and the ArviZ object made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Size

from lse_vi.arviz_export.model_runs import Draws, Program, Unobserve, draw_at, run, trace_given
from lse_vi.arviz_export.model_sites import Sites
from lse_vi.joint.discrete import draw_discrete
from lse_vi.joint.enumeration import Enumerate


class Groups(NamedTuple):
    """The arrays of all groups, and the names of their dimensions.

    Attributes:
        arrays: by group and site, (chain, draw, *shape); those of ``observed_data`` are (*shape).
        dims: names of the dimensions ``*shape`` by site, None where a dimension has no name.
    """

    arrays: dict[str, dict[str, np.ndarray[Any, Any]]]
    dims: dict[str, list[str | None]]


def attributes() -> dict[str, Any]:
    """Where an object comes from, as ArviZ has it, and the version of this library."""
    return {
        "inference_library": "pyro",
        "inference_library_version": pyro.__version__,
        "creation_library": "lse_vi",
        "creation_library_version": version("lse-vi"),
    }


def assemble(
    library: Any,
    arrays: Mapping[str, Mapping[str, np.ndarray]],
    coords: Mapping[str, Sequence[Any]],
    dims: Mapping[str, Sequence[str | None]],
    attrs: Mapping[str, Any],
) -> Any:
    """The object that ``library`` makes of ``arrays[group][site]``; it is ArviZ 0.x or 1.x."""
    labels = {"coords": dict(coords), "dims": dict(dims)}
    if "posterior" in signature(library.from_dict).parameters:  # 0.x takes a keyword per group
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
    discrete: bool,
    sample_stats: Mapping[str, Any],
) -> Groups:
    """All groups as arrays.

    The arguments are those of :func:`~lse_vi.to_arviz`, but the arguments of ``posterior`` and
    ``model`` are already bound to them.
    """
    if isinstance(posterior, Mapping):
        lead, draws = _flatten(posterior, sample_stats)
    elif not callable(posterior):
        raise TypeError(
            "posterior must be a guide, the result of fit_guide or sample_smc, an MCMC, or a "
            f"mapping of draws by site, but got {type(posterior).__name__}"
        )
    elif sample_stats:
        raise ValueError(
            "sample_stats must describe given draws, but posterior is a guide, still to be drawn "
            "from; pass posterior={site: draws} with their sample_stats"
        )
    else:
        lead = Size((1, num_samples))
        draws = run(posterior, _sampled, {}, num_samples, parallel)

    sites = Sites(trace_given(model, draw_at(draws, 0)), draws)
    if sites.summed and discrete:
        draws = _with_discrete(model, draws, sites, lead.numel())
        sites = Sites(trace_given(model, draw_at(draws, 0)), draws)
    if sites.summed and parallel:
        raise ValueError(
            f"parallel: site {sites.summed[0]!r} is discrete and summed out for each draw; pass "
            "parallel=False or discrete=True"
        )
    draws = sites.select(draws, exact=isinstance(posterior, Mapping))
    parameters, data = sites.latent + sites.computed, sites.observed
    predictive = Unobserve(data)(model)

    scoring = Enumerate(sites.depth)(model) if sites.summed else model
    scored = run(scoring, sites.scores, draws, lead.numel(), parallel)
    if parallel:
        sites.check(scored)
    known = {**draws, **scored}
    groups = {
        "posterior": sites.arrays([n for n in parameters if n in known], known, lead),
        "log_likelihood": sites.arrays([n for n in data if n in scored], scored, lead),
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
        except (ValueError, torch.linalg.LinAlgError) as error:
            raise ValueError(
                "prior: the model cannot be run at some draw of its prior; pass prior=False. "
                f"It says: {str(error).splitlines()[0]}"
            ) from error
        groups["prior"] = sites.arrays(parameters, drawn, Size((1, num_samples)))
        groups["prior_predictive"] = sites.arrays(data, drawn, Size((1, num_samples)))
    dims = {name: axes.names for name, axes in sites.axes.items()}
    return Groups({group: arrays for group, arrays in groups.items() if arrays}, dims)


def _with_discrete(model: Program, draws: Draws, sites: Sites, n: int) -> Draws:
    """``draws`` (n, *shape) with draws of the discrete sites that are summed out."""
    rows = [draw_discrete(model, draw_at(draws, i), sites.summed, sites.depth) for i in range(n)]
    return draws | {name: torch.stack([row[name] for row in rows]) for name in sites.summed}


def _flatten(posterior: Mapping[str, Any], sample_stats: Mapping[str, Any]) -> tuple[Size, Draws]:
    """The common shape (chain, draw), and the draws flattened to (chain * draw, *shape)."""
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
    """The values of the latent sites in a run of a guide."""
    return {
        name: site["value"]
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site["is_observed"] and not site_is_subsample(site)
    }
