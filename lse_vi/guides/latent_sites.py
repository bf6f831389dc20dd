"""A guide's latent vector as Pyro sees it: its density, where it starts, and its sites."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.score_parts import ScoreParts
from pyro.infer.autoguide import AutoContinuous, init_to_median
from pyro.infer.autoguide.guides import prototype_hide_fn
from pyro.infer.autoguide.initialization import InitMessenger
from pyro.ops.provenance import detach_provenance, get_provenance, track_provenance
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor
from torch.distributions import biject_to

from lse_vi.checks import check_dim
from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.importance import LaplaceMixture
from lse_vi.distribution.quadrature import Quadrature
from lse_vi.distribution.rule import Method
from lse_vi.joint.enumeration import is_summed
from lse_vi.joint.latents import (
    checked_values,
    still_placed,
    still_values,
    still_vectors,
    supports_move,
    unconstrained,
)
from lse_vi.joint.log_joint import LogJoint
from lse_vi.joint.masks import Free, dead_entries
from lse_vi.joint.refusals import check_continuous
from lse_vi.joint.runs import Program
from lse_vi.joint.supports import OnCircles, check_support
from lse_vi.random.turns import taking_turns
from lse_vi.signatures.checked import checked

RULE_MAX_DIM = 2  # dimensions up to which the default rule is quadrature, the limit of that class
GUIDE_TOLERANCE = 1e-5  # nats of log Z by that quadrature: far below the misfit that is reached
GUIDE_PANELS = 2  # per axis at the start of that quadrature, which is refined as needed
GUIDE_DRAWS = 16_384  # behind log Z in more dimensions: 0.008 nats of error if half of them count


class LatentDensity(LSEDensity):
    """The density of the guide's auxiliary site, with an entropy term for ``Trace_ELBO``.

    ``Trace_ELBO`` weighs the score of a site by l - log q summed over the sites of the *model*,
    which an auxiliary site is not. The gradient of the entropy term given here, log q grad log q,
    adds what is missing.
    """

    def score_parts(self, x: Tensor, *args: Any, **kwargs: Any) -> ScoreParts:
        """log q with its score and the entropy term."""
        log_q = self.log_prob(x)
        # TraceGraph_ELBO, which marks its draws, lets log q take part in the weight of the score.
        term = torch.zeros_like(log_q) if get_provenance(x) else 0.5 * log_q.square()
        return ScoreParts(log_q, score_function=log_q, entropy_term=term)

    def log_prob(self, x: Tensor) -> Tensor:
        """log q(x); marks of ``TraceGraph_ELBO`` on x, a subclass of tensors, pass through."""
        if marks := get_provenance(x):
            return track_provenance(super().log_prob(detach_provenance(x)), marks)
        return super().log_prob(x)


def default_method(dim: int) -> Method:
    """The default rule for log Z: a fast one, as a guide's density changes at every step."""
    if dim <= RULE_MAX_DIM:
        return Quadrature(tolerance=GUIDE_TOLERANCE, panels=GUIDE_PANELS)
    return LaplaceMixture(GUIDE_DRAWS)


def feasible(init_loc_fn: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """``init_loc_fn``, or zero in unconstrained space for a prior that cannot be sampled."""

    def init(site: Any) -> Tensor:
        try:
            return init_loc_fn(site)
        except NotImplementedError:
            fn = site["fn"]
            check_support(site["name"], site)
            transform = biject_to(fn.support)
            return transform(torch.zeros(transform.inverse_shape(fn.shape())))

    return init


def in_training() -> bool:
    """Whether a step of ``SVI`` is at work, which looks for parameters only."""
    return any(getattr(handler, "param_only", False) for handler in _PYRO_STACK)


def sample_sites(
    unpacked: Iterator[tuple[Any, Tensor]],
    values: Mapping[str, Tensor],
    log_dets: Mapping[str, Tensor],
    plates: Mapping[str, Any],
) -> dict[str, Tensor]:
    """Make the sites of a guide at values that are already in the supports of a run of the model.

    Args:
        unpacked: (site, unconstrained value) of each, whose shape says the plates around the guide.
        values, log_dets: of each site and log |dx/dz|, (*plates around the guide, *shape).
        plates: around the sites, by name.
    """
    drawn = {}
    for site, part in unpacked:
        name, fn = site["name"], site["fn"]
        transform = biject_to(fn.support)
        event = fn.event_dim + transform.domain.event_dim - transform.codomain.event_dim
        batch = part.shape[: part.dim() - event]
        log_density: Any = 0.0
        if poutine.get_mask() is not False:
            log_density = -log_dets[name].reshape(*batch, -1).sum(-1)
        value = values[name].reshape((*batch, *fn.event_shape))
        with ExitStack() as stack:
            for frame in site["cond_indep_stack"]:
                stack.enter_context(plates[frame.name])
            law = dist.Delta(value, log_density=log_density, event_dim=fn.event_dim)
            drawn[name] = pyro.sample(name, law)
    return drawn


class LatentSites(AutoContinuous):
    """An ``AutoContinuous`` that sums out discrete sites, and whose supports may move.

    The support of a site may depend on other sites, and entries of a site that are masked and
    change nothing are no latents.

    Args:
        model: the Pyro model.
        init_loc_fn: where the guide starts, as for all autoguides.
    """

    def __init__(self, model: Callable[..., Any], init_loc_fn: Callable[[Any], Tensor]) -> None:
        super().__init__(OnCircles()(model), init_loc_fn=feasible(init_loc_fn))
        self._init_loc_fn: Callable[[Any], Tensor] | None = init_loc_fn
        self._prior: tuple[Any, ...] = (model,)  # as given: autoguides wrap it with init_loc_fn
        self._last: LogJoint | None = None  # with the arguments that the model had last
        self._free: Free | None = None  # None where all entries of the sites are latents
        self.moving = False  # whether the support of a site depends on other sites

    def __getstate__(self) -> dict[str, Any]:
        # As in Pyro's autoguides the model is left out: it is often a closure, which has no pickle.
        # Pyro takes it from the guide itself too, which must not lose it by being copied.
        own = {name: vars(self)[name] for name in ("_model", "master")}
        try:
            left_out = {"_prior": (None,), "_last": None, "_init_loc_fn": None, "_model": (None,)}
            return {**super().__getstate__(), **left_out}
        finally:
            self.__dict__.update(own)

    def adopt(self, model: Callable[..., Any]) -> None:
        """Give its model to a guide that has none, such as one from a pickle."""
        if self._prior[0] is None:
            start = feasible(self._init_loc_fn or init_to_median)
            self._model, self._prior = (InitMessenger(start)(OnCircles()(model)),), (model,)

    def forget(self) -> None:
        """Meet the model anew at the next call: so a fit does not depend on what came before."""
        self.__dict__.update(prototype_trace=None, _free=None, _last=None, moving=False)

    @staticmethod
    def _prototype_hide_fn(msg: Any) -> bool:
        """Whether a site is no part of the guide: data, or discrete and summed out."""
        return prototype_hide_fn(msg) or is_summed(msg)

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        try:
            super()._setup_prototype(*args, **kwargs)
        except (ValueError, NotImplementedError, torch.linalg.LinAlgError) as error:
            sites = self.prototype_trace.iter_stochastic_nodes() if self.prototype_trace else ()
            for name, site in sites:
                check_continuous(name, site)
                check_support(name, site)
            if isinstance(error, torch.linalg.LinAlgError) or "PositiveDefinite" in str(error):
                raise ValueError(
                    "model: a matrix is not positive definite where the guide starts; start it "
                    "elsewhere, by init_loc_fn=init_to_value(values={...}) for example. It says: "
                    f"{str(error).splitlines()[0]}"
                ) from error
            raise
        except ZeroDivisionError as error:
            raise ValueError("model: a pyro.plate has size zero; are its data empty?") from error
        if any(frame.size < (frame.full_size or 0) for frame in self._prototype_frames.values()):
            return  # only SVI on subsamples can train such a guide; a fit refuses it by name
        program = Program(self._prior[0], self._unpack_latent, args, kwargs)
        start = self._init_loc()
        self.moving = supports_move(program, start)
        if bool((dead := dead_entries(program, start, self.prototype_trace)).any()):
            self._free = Free.of(dead)
            self.latent_dim = len(self._free.kept)
            if not self.latent_dim:
                raise RuntimeError("model: no latent variables; all entries are masked")

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """A draw of each site, as for all autoguides."""
        if torch.jit.is_tracing():
            raise NotImplementedError(
                "AutoLSEICNN cannot be compiled, so JitTrace_ELBO would freeze its log Z; use "
                "Trace_ELBO or lse_vi.EnergyELBO"
            )
        if self.prototype_trace is None:
            self._setup_prototype(*args, **kwargs)
        if not self.moving and self._free is None:
            drawn: dict[str, Tensor] = super().forward(*args, **kwargs)
            return drawn
        latent, plates = self.sample_latent(*args, **kwargs), self._create_plates(*args, **kwargs)
        if self.moving:
            marks = get_provenance(latent)
            values, log_dets = self.log_joint(*args, **kwargs).placed(detach_provenance(latent))
            values = {name: track_provenance(value, marks) for name, value in values.items()}
        else:
            values, log_dets = still_placed(self._unpack_latent(latent))
        return sample_sites(self._unpack_latent(latent), values, log_dets, plates)

    def _init_loc(self) -> Tensor:
        """Where the guide starts, (dim,)."""
        return self._kept(unconstrained(self.prototype_trace, self._names))

    def _unpack_latent(self, latent: Tensor) -> Iterator[tuple[Any, Tensor]]:
        """(site, unconstrained value) for vectors (*lead, dim), with entries that rest."""
        yield from super()._unpack_latent(
            latent if self._free is None else self._free.whole(latent)
        )

    def _kept(self, z: Tensor) -> Tensor:
        """Vectors (*lead, dim) of the latents, without entries (*lead, all) that are none."""
        return z if self._free is None else z[..., self._free.kept]

    @property
    def _names(self) -> list[str]:
        """The sites of the guide in the order of its vector."""
        return list(self.prototype_trace.stochastic_nodes)

    def is_for(self, model: Callable[..., Any]) -> bool:
        """Whether the guide was made for ``model``; False once pickled, which drops the model."""
        return bool(self._prior[0] == model)  # == and not "is", for bound methods

    @taking_turns()
    def log_joint(self, *args: Any, **kwargs: Any) -> LogJoint:
        """The model's log joint over the unconstrained latent vector, given its arguments."""
        if self.prototype_trace is None:  # without a draw, which needs a guide that is in place
            self._setup_prototype(*args, **kwargs)
        model = self._prior[0] if self.master is None else self._whole_model(args, kwargs)
        self._last = LogJoint(model, self._unpack_latent, args, kwargs)
        return self._last

    def _whole_model(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The model of an ``AutoGuideList`` that holds this guide, the sites of others given.

        These are at the medians of their guides, or as they were in a first run.
        """
        whole = self.master()
        if whole.prototype_trace is None:
            whole._setup_prototype(*args, **kwargs)
        sites = whole.prototype_trace.iter_stochastic_nodes()
        given = {name: site["value"] for name, site in sites if not is_summed(site)}
        for part in whole:
            if part is not self:
                with suppress(NotImplementedError), poutine.block():  # a median may make sites
                    if part.prototype_trace is None:
                        part._setup_prototype(*args, **kwargs)
                    given |= part.median(*args, **kwargs)
        others = {name: x.detach() for name, x in given.items() if name not in self._names}
        return poutine.condition(whole.model, data=others)

    @checked
    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Values of the model's sites at an unconstrained vector ``z`` (dim,)."""
        return {name: value[0] for name, value in self.values(z.unsqueeze(0)).items()}

    @checked
    def values(self, z: Tensor) -> dict[str, Tensor]:
        """Values of the model's sites, (*lead, *shape), at unconstrained vectors (*lead, dim).

        Where the support of a site depends on other sites, the model runs with the arguments that
        it had last.
        """
        self._check_met()
        check_dim("z", z, self.latent_dim)
        if self.moving:
            return self._with_model().values(z)
        return still_values(self._unpack_latent, z)

    def _check_met(self) -> None:
        """The guide must have met its model: its latents are not known before."""
        if self.prototype_trace is None:
            raise ValueError(
                "guide: it has not met its model yet; call fit_guide(model, guide, ...), or "
                "guide(...) with the arguments of the model, first"
            )

    def _with_model(self) -> LogJoint:
        """The log joint with the arguments that the model had last."""
        if self._last is None:
            raise ValueError(
                "guide: the support of a site depends on other sites, and this guide has no model: "
                "call it first, or after loading make it anew and use load_state_dict"
            )
        return self._last

    @checked
    @torch.no_grad()
    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The unconstrained vectors (*lead, dim) at values of the sites, each (*lead, *shape).

        Raises:
            ValueError: if a site is missing, or of another shape.
        """
        self._check_met()
        given = checked_values(self.prototype_trace, values)
        if not self.moving:
            return self._kept(still_vectors(self.prototype_trace, given))
        return self._kept(self._with_model().unplaced(given, self._init_loc()))
