"""Pyro posteriors as ArviZ objects: draws, log-likelihood and predictions with named dimensions.

A plate of the model becomes a dimension of the same name. :mod:`~lse_vi.arviz_export.gather` turns
a posterior and its model into plain arrays, and the installed ArviZ turns these into its object.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import arviz
from pyro.infer import MCMC

from lse_vi.arviz_export.gather import assemble, attributes, gather
from lse_vi.arviz_export.settings import ExportSettings
from lse_vi.fitting.random_state import seeded
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.guides.result import GuideResult
from lse_vi.guides.weighted_draws import weighted_draws
from lse_vi.joint.plates import whole_plates
from lse_vi.random.turns import own_draws, taking_turns
from lse_vi.sampling.draws import PosteriorDraws
from lse_vi.signatures.checked import checked
from lse_vi.signatures.keywords import settle

# What has an export of its own, or none, by the name of its type: the room of most is above this.
ELSEWHERE = {
    "DensityPosterior": "use lse_vi.density_to_arviz(posterior)",
    "ModeCount": "use lse_vi.density_to_arviz(count.best)",
    "FitResult": "it has no posterior; use lse_vi.density_to_arviz(lse_vi.fit_posterior(x))",
    "LSEDensity": "it has no posterior; use lse_vi.density_to_arviz(lse_vi.fit_posterior(x))",
    "PotentialFit": "a fit of a potential has no posterior",
    "MemoryFit": "a fit of a material has no posterior",
}


@checked
def to_arviz(
    posterior: Any,  # of the kinds below; for other results it names the function that is theirs
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
    ``pyro.factor`` are not data, so they are left out. Discrete sites without draws are summed out
    of ``log_likelihood``, or drawn too with ``discrete=True``. Batch dimensions are named after
    their plates. The attributes hold the versions of Pyro and of this library, the seed, and the
    warnings of the result.

    Args:
        posterior: one of

            * a guide, called as ``posterior(*args, **kwargs)``, or what
              :func:`~lse_vi.fit_guide` returned;
            * the result of :func:`~lse_vi.sample_smc`, whose islands are the chains and whose
              ``sample_stats`` hold the mode of each draw;
            * a ``pyro.infer.MCMC`` that has run;
            * draws of every latent site, (chain, draw, *shape).
        model: the Pyro model, called with ``*args`` and ``**kwargs``.
        args: positional arguments of the model, usually its data.
        settings: number of draws, seed, names of dimensions, ...; see :class:`ExportSettings`.
        kwargs: further arguments of the model, and settings by their names (``num_samples=500``,
            ``seed=1``, ``resample=True``, ...). If the model has an argument of the name of a
            setting, the keyword goes to the model; give the setting in ``settings`` instead.

    Returns:
        ``arviz.InferenceData`` (ArviZ 0.x) or ``xarray.DataTree`` (ArviZ 1.x).

    Raises:
        TypeError: if ``posterior`` is none of these; it names the right function where there is
            one, e.g. :func:`~lse_vi.density_to_arviz`.
        ValueError: if draws are missing, unequal in number or of the wrong shape, if data do not
            fit their site, if a plate is subsampled, if the prior is improper, or if ``resample``
            is asked for without an :class:`~lse_vi.AutoLSEICNN` of this model.

    Example:
        >>> import pyro, torch
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
    posterior, attrs, sample_stats = _opened(posterior, chosen)
    with taking_turns(), seeded(chosen.seed):
        if isinstance(posterior, AutoLSEICNN) and posterior.is_for(model):
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
        with own_draws(), whole_plates():
            groups = gather(
                partial(posterior, *args, **kwargs) if callable(posterior) else posterior,
                partial(model, *args, **kwargs),
                num_samples=chosen.num_samples,
                parallel=chosen.parallel,
                prior=chosen.prior,
                discrete=chosen.discrete,
                sample_stats=sample_stats,
            )
    dims = {**groups.dims, **(chosen.dims or {})}
    return assemble(arviz, groups.arrays, chosen.coords or {}, dims, attrs)


def _opened(posterior: Any, chosen: ExportSettings) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The guide or the draws in ``posterior``, its attributes, and its sample statistics."""
    attrs = attributes()
    if chosen.seed is not None:
        attrs["seed"] = chosen.seed
    sample_stats = dict(chosen.sample_stats or {})
    kind = type(posterior).__name__
    if kind in ELSEWHERE:
        raise TypeError(
            f"posterior must be that of a Pyro model, but got {kind}; {ELSEWHERE[kind]}"
        )
    if isinstance(posterior, (GuideResult, PosteriorDraws)):
        attrs["warnings"] = "\n".join(posterior.warnings)
    if isinstance(posterior, GuideResult):
        posterior = posterior.guide
    elif isinstance(posterior, PosteriorDraws):
        if chosen.resample:
            raise ValueError("resample is for guides: draws by sample_smc need no weights")
        attrs |= {
            "log_evidence": posterior.log_evidence,
            "log_evidence_error": posterior.log_evidence_error,
        }
        sample_stats = {"mode": posterior.mode, **sample_stats}
        posterior = posterior.samples
    elif isinstance(posterior, MCMC):
        if posterior._samples is None:
            raise ValueError("posterior is an MCMC without draws; call its run(...) first")
        posterior = posterior.get_samples(group_by_chain=True)
    return posterior, attrs, sample_stats
