"""A guide's latent vector as Pyro sees it: its density, where it starts, and its sites."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.score_parts import ScoreParts
from pyro.infer.autoguide import AutoContinuous
from torch import Tensor
from torch.distributions import biject_to

from lse_vi.checks import check_dim, check_tensor
from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.importance import LaplaceMixture
from lse_vi.distribution.quadrature import Quadrature
from lse_vi.distribution.rule import Method

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
        return ScoreParts(log_q, score_function=log_q, entropy_term=0.5 * log_q.square())


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
            transform = biject_to(fn.support)
            return transform(torch.zeros(transform.inverse_shape(fn.shape())))

    return init


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


def check_met(guide: AutoContinuous, z: Tensor | None = None) -> None:
    """``guide`` must have met its model, and ``z``, if given, must be of its latent vector."""
    if guide.prototype_trace is None:
        raise ValueError(
            "guide: it has not met its model yet; call fit_guide(model, guide, ...), or "
            "guide(...) with the arguments of the model, first"
        )
    if z is not None:
        check_tensor("z", z)
        check_dim("z", z, guide.latent_dim)
