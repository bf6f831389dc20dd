"""The sites of a Pyro model by kind, and the plates that name their dimensions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from pyro.distributions import Delta
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_factor, site_is_subsample
from torch import Size, Tensor

from lse_vi.arviz_export.model_runs import Draws, plate_depth
from lse_vi.joint.enumeration import depth_of, is_summed
from lse_vi.joint.pointwise import pointwise
from lse_vi.joint.refusals import check_whole

# How far log-probabilities of a run with all draws at once may be from those of a run with one.
# Rounding in float32 stays below; a model that is not vectorised mixes up draws and is far above.
PARALLEL_TOLERANCE = 1e-3


class Axes(NamedTuple):
    """The dimensions of a site as ArviZ gets them.

    Attributes:
        names: of the batch dimensions that are kept: their plates, None without a plate.
        drop: axes of size one that are left out.
    """

    names: list[str | None]
    drop: tuple[int, ...]


class Sites:
    """The sites of a model by kind, read from the trace of one run.

    Args:
        trace: of the run.
        given: names of sites that have draws: a discrete site without is summed out.

    Attributes:
        latent, computed, observed: names of the latent sites, of the deterministic ones, and of
            those with data.
        summed: names of the discrete latent sites that are summed out.
        depth: number of dimensions, from the right, that the model itself uses.
        data: of the observed sites, (1, *shape).
        axes: of every site.
    """

    def __init__(self, trace: Trace, given: Collection[str]) -> None:
        self.trace, self.depth = trace, depth_of(trace)
        self.latent: list[str] = []
        self.summed: list[str] = []
        self.computed: list[str] = []
        self.observed: list[str] = []
        self.data: Draws = {}
        self.axes: dict[str, Axes] = {}
        for name, site in trace.nodes.items():
            if site["type"] != "sample" or site_is_subsample(site) or site_is_factor(site):
                continue
            check_whole(name, site)
            value = site["value"]
            if is_summed(site) and name not in given:
                self.summed.append(name)
            elif not site["is_observed"]:
                self.latent.append(name)
            elif _is_computed(site):
                self.computed.append(name)
            else:
                self.observed.append(name)
                value = _data(name, site)
                self.data[name] = value.unsqueeze(0)
            self.axes[name] = _axes(site, value)

    def select(self, draws: Draws, *, exact: bool) -> Draws:
        """The ``draws`` (n, *shape) of the latent sites; with ``exact``, others are an error."""
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
        """The values of all sites in ``trace``, another run."""
        return {name: trace.nodes[name]["value"] for name in self.axes}

    def scores(self, trace: Trace) -> Draws:
        """The log-probabilities of the data, and computed values, in ``trace``, another run.

        Where discrete sites are summed out, what depends on them for itself is left out: values
        computed from them, and terms of data that share one.
        """
        computed = {name: trace.nodes[name]["value"] for name in self.computed}
        if self.summed:
            alone = {name: self.trace.nodes[name]["value"].shape for name in computed}
            terms = {name: pointwise(trace, name, self.depth) for name in self.observed}
            return {n: x for n, x in computed.items() if x.shape == alone[n]} | {
                name: term for name, term in terms.items() if term is not None
            }
        trace.compute_log_prob(lambda name, _: name in self.observed)
        return computed | {name: trace.nodes[name]["log_prob"] for name in self.observed}

    def check(self, scored: Draws) -> None:
        """The first entry of ``scored`` (n, *shape) must be what the first draw gives alone."""
        for name, value in self.scores(self.trace).items():
            first, alone = scored[name][0].double(), value.double()
            if not torch.allclose(
                first, alone, rtol=PARALLEL_TOLERANCE, atol=PARALLEL_TOLERANCE, equal_nan=True
            ):
                raise ValueError(
                    f"parallel: site {name!r} comes out differently for one draw and for all at "
                    "once, so the model is not vectorised over draws; pass parallel=False"
                )

    def arrays(self, names: Sequence[str], values: Draws, lead: Size) -> dict[str, np.ndarray]:
        """``values`` (n, *shape) of the sites ``names`` as arrays (*lead, *shape of kept axes)."""
        arrays = {}
        for name in names:
            drop = tuple(len(lead) + axis for axis in self.axes[name].drop)
            value = values[name].reshape(lead + values[name].shape[1:])
            arrays[name] = value.cpu().numpy().squeeze(drop)
        return arrays


def _is_computed(site: Any) -> bool:
    """Whether a site is an observed Delta, as ``pyro.deterministic`` and reparametrisers make."""
    fn = site["fn"]
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return isinstance(fn, Delta)


def _data(name: str, site: Any) -> Tensor:
    """The data of a site, expanded to the shape of its distribution."""
    value, shape = site["value"], site["fn"].shape()
    try:
        return value.expand(shape)
    except RuntimeError as error:
        raise ValueError(
            f"model: site {name!r} observes data of shape {tuple(value.shape)}, but its "
            f"distribution has shape {tuple(shape)}; put it in a plate"
        ) from error


def _axes(site: Any, value: Tensor) -> Axes:
    """The names of the batch dimensions of a site, from its plates, and those to drop."""
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    rank = value.dim() - site["fn"].event_dim
    # Without event_dim, pyro.deterministic declares all dimensions event dimensions. Those that
    # its plates cover are batch dimensions here.
    if rank == 0 and _is_computed(site) and value.dim() <= plate_depth(frames):
        rank = value.dim()
    names: list[str | None] = [None] * rank
    for frame in frames:
        if -frame.dim <= rank and value.shape[rank + frame.dim] == frame.size:
            names[frame.dim] = frame.name
    # In a site with plates, a batch dimension of size one without a plate is a placeholder.
    drop = tuple(i for i in range(rank) if frames and names[i] is None and value.shape[i] == 1)
    return Axes([name for i, name in enumerate(names) if i not in drop], drop)
