"""Pyro posteriors as ArviZ objects: draws, log-likelihood and predictions with named dimensions.

A plate of the model becomes a dimension of the same name. :mod:`~lse_vi.arviz_export.gather` turns
a posterior and its model into plain arrays, and the installed ArviZ turns these into its object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import arviz
import pyro

from lse_vi.arviz_export.gather import assemble, gather
from lse_vi.arviz_export.settings import ExportSettings
from lse_vi.fitting.keywords import settle
from lse_vi.fitting.random_state import seeded
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.guides.weighted_draws import weighted_draws
from lse_vi.sampling.draws import PosteriorDraws


def to_arviz(
    posterior: Callable[..., Any] | Mapping[str, Any] | PosteriorDraws,
    model: Callable[..., Any],
    *args: Any,
    settings: ExportSettings | None = None,
    **kwargs: Any,
) -> Any:
    r"""A posterior of a Pyro model as ArviZ sees it.

    Use it to judge, compare or plot a posterior by ArviZ: ``az.loo``, ``az.plot_ppc``, ...

    The groups are ``posterior`` (latent and deterministic sites), ``log_likelihood`` (of each
    observation, scaled and masked as in the model), ``posterior_predictive``, ``sample_stats``,
    ``prior``, ``prior_predictive`` and ``observed_data``; an empty group is absent. Terms of
    ``pyro.factor`` are not data, so they are left out. Batch dimensions are named after their
    plates.

    Args:
        posterior: a guide, called as ``posterior(*args, **kwargs)``; draws of every latent site,
            (chain, draw, *shape), as from ``mcmc.get_samples(group_by_chain=True)``; or the result
            of :func:`~lse_vi.sample_smc`, whose islands are the chains and whose ``sample_stats``
            hold the mode of each draw.
        model: the Pyro model, called with ``*args`` and ``**kwargs``.
        args: positional arguments of the model, usually its data.
        settings: number of draws, seed, names of dimensions, ...; see :class:`ExportSettings`.
        kwargs: further arguments of the model, and settings by their names (``num_samples=500``,
            ``seed=1``, ``resample=True``, ...). If the model has an argument of the name of a
            setting, the keyword goes to the model; give the setting in ``settings`` instead.

    Returns:
        ``arviz.InferenceData`` (ArviZ 0.x) or ``xarray.DataTree`` (ArviZ 1.x).

    Raises:
        TypeError: if ``posterior`` is neither a guide nor a mapping.
        ValueError: if draws are missing, unequal in number or of the wrong shape, if data do not
            fit their site, if a plate is subsampled, if the prior is improper, or if ``resample``
            is asked for without an :class:`~lse_vi.AutoLSEICNN` of this model.

    Example:
        >>> import torch
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
    chosen, kwargs = settle("settings", ExportSettings, settings, model, args, kwargs)
    attrs: dict[str, Any] = {
        "inference_library": "pyro",
        "inference_library_version": pyro.__version__,
    }
    if chosen.seed is not None:
        attrs["seed"] = chosen.seed
    sample_stats = dict(chosen.sample_stats or {})
    with seeded(chosen.seed):
        if isinstance(posterior, PosteriorDraws):
            if chosen.resample:
                raise ValueError("resample is for guides: draws by sample_smc need no weights")
            attrs |= {
                "log_evidence": posterior.log_evidence,
                "log_evidence_error": posterior.log_evidence_error,
            }
            sample_stats = {"mode": posterior.mode, **sample_stats}
            posterior = posterior.samples
        elif isinstance(posterior, AutoLSEICNN) and posterior.is_for(model):
            weighted = weighted_draws(
                posterior, args, kwargs, num_samples=chosen.num_samples, resample=chosen.resample
            )
            posterior, attrs = weighted.values, attrs | weighted.attrs
            sample_stats = {**weighted.sample_stats, **sample_stats}
        elif chosen.resample:
            raise ValueError(
                "resample needs importance weights, which only an AutoLSEICNN of this very model "
                f"has, but posterior is {type(posterior).__name__}"
            )
        groups = gather(
            partial(posterior, *args, **kwargs) if callable(posterior) else posterior,
            partial(model, *args, **kwargs),
            num_samples=chosen.num_samples,
            parallel=chosen.parallel,
            prior=chosen.prior,
            sample_stats=sample_stats,
        )
    dims = {**groups.dims, **(chosen.dims or {})}
    return assemble(arviz, groups.arrays, chosen.coords or {}, dims, attrs)
