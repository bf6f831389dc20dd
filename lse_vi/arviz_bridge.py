"""Pyro posteriors as ArviZ objects: draws, log-likelihood and predictions with named dimensions.

:func:`gather` makes plain arrays of a posterior and its model, :func:`assemble` hands them to the
ArviZ that is installed. A plate of the model becomes a dimension of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import arviz
import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.poutine.trace_struct import Trace
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from pyro.poutine.util import site_is_factor, site_is_subsample
from torch import Size, Tensor

from lse_vi.checks import check_count
from lse_vi.guide import AutoLSEICNN
from lse_vi.guide_draws import weighted_draws

Program = Callable[[], Any]
Draws = dict[str, Tensor]


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
        draws = _run(posterior, _sampled, {}, num_samples, parallel)

    sites = _Sites(_trace(model, _row(draws, 0)))
    draws = sites.select(draws, exact=isinstance(posterior, Mapping))
    parameters, data = sites.latent + sites.computed, sites.observed
    predictive = _Unobserve(data)(model)

    scored = _run(model, sites.scores, draws, lead.numel(), parallel)
    if parallel:
        sites.check(scored)
    groups = {
        "posterior": sites.arrays(parameters, {**draws, **scored}, lead),
        "log_likelihood": sites.arrays(data, scored, lead),
        "sample_stats": {name: np.asarray(value) for name, value in sample_stats.items()},
        "observed_data": sites.arrays(data, sites.data, Size()),
    }
    if data:
        drawn = _run(predictive, sites.values, draws, lead.numel(), parallel)
        groups["posterior_predictive"] = sites.arrays(data, drawn, lead)
    if prior:
        try:
            drawn = _run(predictive, sites.values, {}, num_samples, parallel)
        except NotImplementedError as error:
            raise ValueError(
                "prior: the model has a site that cannot be drawn from; pass prior=False"
            ) from error
        groups["prior"] = sites.arrays(parameters, drawn, Size((1, num_samples)))
        groups["prior_predictive"] = sites.arrays(data, drawn, Size((1, num_samples)))
    dims = {name: axes.names for name, axes in sites.axes.items()}
    return Groups({group: arrays for group, arrays in groups.items() if arrays}, dims)


class _Axes(NamedTuple):
    """Plates of the batch dimensions of a site (None: no plate), and batch axes to drop."""

    names: list[str | None]
    drop: tuple[int, ...]


class _Sites:
    """The sites of a model by kind, their axes and their data (1, *shape), from one run."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.latent: list[str] = []
        self.computed: list[str] = []
        self.observed: list[str] = []
        self.data: Draws = {}
        self.axes: dict[str, _Axes] = {}
        for name, site in trace.nodes.items():
            if site["type"] != "sample" or site_is_subsample(site) or site_is_factor(site):
                continue
            _check_whole(name, site)
            value = site["value"]
            if not site["is_observed"]:
                self.latent.append(name)
            elif _is_computed(site):
                self.computed.append(name)
            else:
                self.observed.append(name)
                value = _data(name, site)
                self.data[name] = value.unsqueeze(0)
            self.axes[name] = _axes(site, value)

    def select(self, draws: Draws, *, exact: bool) -> Draws:
        """The ``draws`` (n, *shape) of the latent sites; ``exact`` admits none of other sites."""
        for name in self.latent:
            if name not in draws:
                raise ValueError(
                    f"posterior has no draws of the latent site {name!r}, only of {sorted(draws)}; "
                    "if the site is data, pass it in args"
                )
            expected, got = self.trace.nodes[name]["fn"].shape(), draws[name].shape[1:]
            if got != expected:
                raise ValueError(
                    f"posterior: draws of {name!r} must have shape (chain, draw) + "
                    f"{tuple(expected)}, but got (chain, draw) + {tuple(got)}"
                )
        unknown = set(draws) - set(self.latent)
        if exact and unknown:
            raise ValueError(
                f"posterior has draws of {sorted(unknown)}, but the latent sites of the model are "
                f"{sorted(self.latent)}"
            )
        return {name: draws[name] for name in self.latent}

    def values(self, trace: Trace) -> Draws:
        """The values of all sites in another run."""
        return {name: trace.nodes[name]["value"] for name in self.axes}

    def scores(self, trace: Trace) -> Draws:
        """The log-probability of each observation, and computed values, in another run."""
        trace.compute_log_prob(lambda name, _: name in self.observed)
        computed = {name: trace.nodes[name]["value"] for name in self.computed}
        return computed | {name: trace.nodes[name]["log_prob"] for name in self.observed}

    def check(self, scored: Draws) -> None:
        """The first of ``scored`` (n, *shape) must be what one draw gives on its own."""
        for name, value in self.scores(self.trace).items():
            first, alone = scored[name][0].double(), value.double()
            if not torch.allclose(first, alone, rtol=1e-3, atol=1e-3, equal_nan=True):
                raise ValueError(
                    f"parallel: site {name!r} comes out differently for one draw and for all at "
                    "once, so the model is not vectorised over draws; pass parallel=False"
                )

    def arrays(self, names: Sequence[str], values: Draws, lead: Size) -> dict[str, np.ndarray]:
        """``values`` (n, *shape) of ``names`` as arrays (*lead, *shape), without dropped axes."""
        arrays = {}
        for name in names:
            drop = tuple(len(lead) + axis for axis in self.axes[name].drop)
            value = values[name].reshape(lead + values[name].shape[1:])
            arrays[name] = value.cpu().numpy().squeeze(drop)
        return arrays


def _is_computed(site: Any) -> bool:
    """Whether the site is a ``pyro.deterministic`` or reparametrised: an observed Delta."""
    fn = site["fn"]
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return isinstance(fn, Delta)


def _check_whole(name: str, site: Any) -> None:
    for frame in site["cond_indep_stack"]:
        if frame.full_size is not None and frame.size < frame.full_size:
            raise ValueError(
                f"model: site {name!r} sees a subsample of plate {frame.name!r}, {frame.size} of "
                f"{frame.full_size}; run it without subsampling, on all data"
            )


def _data(name: str, site: Any) -> Tensor:
    value, shape = site["value"], site["fn"].shape()
    try:
        return value.expand(shape)
    except RuntimeError as error:
        raise ValueError(
            f"model: site {name!r} observes data of shape {tuple(value.shape)}, but its "
            f"distribution has shape {tuple(shape)}; put it in a plate"
        ) from error


def _axes(site: Any, value: Tensor) -> _Axes:
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    rank = value.dim() - site["fn"].event_dim
    # Unless told, pyro.deterministic takes all dimensions for event dimensions, plates or not.
    if rank == 0 and _is_computed(site) and value.dim() <= _depth(frames):
        rank = value.dim()
    names: list[str | None] = [None] * rank
    for frame in frames:
        if -frame.dim <= rank and value.shape[rank + frame.dim] == frame.size:
            names[frame.dim] = frame.name
    # Beside a plate, a batch dimension of size one without a plate only holds a place.
    drop = tuple(i for i in range(rank) if frames and names[i] is None and value.shape[i] == 1)
    return _Axes([name for i, name in enumerate(names) if i not in drop], drop)


def _depth(frames: Sequence[Any]) -> int:
    return max((-frame.dim for frame in frames if frame.vectorized), default=0)


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


class _Unobserve(UnconditionMessenger):
    """Draw ``sites`` instead of observing them (``poutine.uncondition`` spares no site)."""

    def __init__(self, sites: Collection[str]) -> None:
        super().__init__()
        self.sites = sites

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.sites:
            super()._pyro_sample(msg)


def _row(draws: Draws, i: int) -> Draws:
    return {name: value[i] for name, value in draws.items()}


def _trace(program: Program, values: Draws) -> Trace:
    """A run of ``program`` whose latent sites take ``values``, where given."""
    given = Trace()
    for name, value in values.items():
        given.add_node(name, name=name, type="sample", value=value, is_observed=False, infer={})
    return poutine.trace(poutine.replay(program, trace=given)).get_trace()


def _sampled(trace: Trace) -> Draws:
    return {
        name: site["value"]
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site["is_observed"] and not site_is_subsample(site)
    }


def _run(
    program: Program, read: Callable[[Trace], Draws], draws: Draws, n: int, parallel: bool
) -> Draws:
    """What ``read`` takes from runs of ``program`` with each of ``n`` draws, as (n, *shape)."""
    if not parallel:
        rows = [read(_trace(program, _row(draws, i))) for i in range(n)]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    one = _trace(program, _row(draws, 0))
    nesting = max(_depth(site.get("cond_indep_stack", ())) for site in one.nodes.values())
    wide = {}
    for name, value in draws.items():
        batch = value.dim() - 1 - one.nodes[name]["fn"].event_dim
        wide[name] = value.reshape(n, *(1,) * (nesting - batch), *value.shape[1:])
    with pyro.plate("_draws", n, dim=-nesting - 1):
        many = read(_trace(program, wide))
    return {name: _narrow(name, many[name], n, value.shape) for name, value in read(one).items()}


def _narrow(name: str, value: Tensor, n: int, shape: Size) -> Tensor:
    """``value`` (n, 1, ..., *shape), or (*shape) where all draws agree, as (n, *shape)."""
    split = value.dim() - len(shape)
    if value.shape[split:] != shape or value.shape[:split].numel() not in (1, n):
        raise ValueError(
            f"parallel: site {name!r} comes with shape {tuple(value.shape)} for {n} draws of shape "
            f"{tuple(shape)}, so the program is not vectorised; pass parallel=False"
        )
    return value.reshape(-1, *shape).expand(n, *shape)
