"""Discrete latent sites of a model, summed out exactly: Pyro's parallel enumeration."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from numbers import Number
from typing import Any

import torch
from pyro.distributions.torch_distribution import MaskedDistribution
from pyro.distributions.util import scale_and_mask
from pyro.ops import packed
from pyro.ops.contract import contract_to_tensor
from pyro.ops.rings import LogRing
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor


def is_summed(site: Any) -> bool:
    """Whether a site is latent and has finitely many values, so that it is summed out."""
    return (
        site["type"] == "sample"
        and not site["is_observed"]
        and not site_is_subsample(site)
        and bool(getattr(site["fn"], "has_enumerate_support", False))
    )


class Enumerate(EnumMessenger):
    """Each discrete latent site takes all its values at once, in a dimension of its own.

    Unlike Pyro's handler it needs no ``infer={"enumerate": "parallel"}``.

    Args:
        depth: number of dimensions, from the right, that the model itself uses.
    """

    def __init__(self, depth: int) -> None:
        super().__init__(first_available_dim=-1 - depth)

    def _pyro_sample(self, msg: Any) -> None:
        if is_summed(msg):
            msg["infer"] = {**msg["infer"], "enumerate": "parallel", "num_samples": None}
        super()._pyro_sample(msg)

    def _pyro_post_sample(self, msg: Any) -> None:
        # Pyro's asks for value.data, which vmap forbids, and needs its shape only.
        shape = torch.empty(msg["value"].shape, device="meta")
        super()._pyro_post_sample({**msg, "value": shape})


class Ring(LogRing):
    """Pyro's algebra of factors in logarithms, with the sums of :mod:`~lse_vi.joint.log_sums`."""

    _backend = "lse_vi.joint.log_sums"


def depth_of(trace: Trace) -> int:
    """The number of dimensions, from the right, that plates and batches of a run take."""
    depth = 0
    for site in trace.nodes.values():
        if site["type"] == "sample":
            frames = [-f.dim for f in site["cond_indep_stack"] if f.vectorized]
            depth = max(depth, len(getattr(site["fn"], "batch_shape", ())), *frames)
    return depth


def log_prob_sum(trace: Trace, depth: int, plate: tuple[str, int] | None = None) -> Tensor:
    """The log probability of a run, with the sites that :class:`Enumerate` met summed out.

    Args:
        trace: of the run.
        depth: as in :class:`Enumerate`.
        plate: name and size n of an outermost plate of draws, in dimension ``-depth``; then the
            result is (n,), else a scalar.

    Raises:
        ValueError: if sites that depend on discrete ones are scaled differently, or a discrete site
            has dimensions without a plate.
    """
    total: Any = 0.0
    factors, scales = OrderedDict[frozenset[str], list[Tensor]](), dict[str, Any]()
    trace.symbolize_dims()
    for name, site in trace.nodes.items():
        if site["type"] != "sample" or site_is_subsample(site):
            continue
        log_p = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
        if all(size == 1 for size in log_p.shape[: max(log_p.dim() - depth, 0)]):
            log_p = scale_and_mask(log_p, site["scale"], site["mask"])
            total = total + (log_p.sum() if plate is None else _each(log_p, depth))
        else:
            ordinal = frozenset(trace.plate_to_symbol[f.name] for f in plates_of(site))
            factors.setdefault(ordinal, []).append(factor(name, site, log_p, depth))
            scales[name] = site["scale"]
    if factors:
        dims = set(trace.symbol_to_dim) - set(trace.plate_to_symbol.values())
        kept = {} if plate is None else {trace.plate_to_symbol[plate[0]]: plate[1]}
        total = total + _common(scales) * contract_to_tensor(
            factors, dims, frozenset(kept), ring=Ring(dim_to_size=kept)
        )
    return total


def prior_terms(trace: Trace, names: Iterable[str], depth: int) -> list[Tensor]:
    """Log densities of the sites ``names`` of a run, whose sum is that of the prior.

    They are NaN where that is not known: if a site is scaled or masked, or depends on a discrete
    one that takes all its values.
    """
    terms = []
    for name in names:
        site = trace.nodes[name]
        log_p = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
        plain = isinstance(site["scale"], Number) and site["scale"] == 1
        whole = (site["mask"] is None or site["mask"] is True) and not _is_masked(site["fn"])
        alone = all(size == 1 for size in log_p.shape[: max(log_p.dim() - depth, 0)])
        terms.append(log_p if plain and whole and alone else log_p.new_full((), math.nan))
    return terms


def _is_masked(law: Any) -> bool:
    """Whether a law, or the one inside it, was made by ``law.mask(...)``."""
    while not isinstance(law, MaskedDistribution):
        if not hasattr(law, "base_dist"):
            return False
        law = law.base_dist
    return True


def factor(name: str, site: Any, log_p: Tensor, depth: int) -> Tensor:
    """The log probability of a site that depends on discrete ones, as Pyro packs it."""
    # A mask is inside the sum over values, a scale outside of it. The discrete site itself keeps
    # its probabilities under a mask, or those would sum to more than one.
    enumerated = site["infer"].get("_enumerate_dim") is not None
    log_p = scale_and_mask(log_p, 1.0, None if enumerated else site["mask"])
    plates = {frame.dim for frame in plates_of(site)}
    loose = [d for d in range(-depth, 0) if d not in plates and log_p.shape[d] > 1]
    if loose and enumerated:
        raise ValueError(
            f"model: the discrete site {name!r} has a batch of shape "
            f"{tuple(site['fn'].batch_shape)} outside of plates; put it in a pyro.plate"
        )
    if loose:
        log_p = log_p.sum(loose, keepdim=True)
    return packed.pack(log_p, site["infer"]["_dim_to_symbol"])


def plates_of(site: Any) -> list[Any]:
    """The plates around a site that take a dimension."""
    return [frame for frame in site["cond_indep_stack"] if frame.vectorized]


def _each(log_p: Tensor, depth: int) -> Tensor:
    """The sum for each draw of a plate in dimension ``-depth``; of all where there is none."""
    if log_p.dim() < depth or log_p.shape[-depth] == 1:
        return log_p.sum()
    return log_p.transpose(0, -depth).flatten(1).sum(1) if log_p.dim() > 1 else log_p


def _common(scales: dict[str, Any]) -> Any:
    """The scale that all sites have which depend on discrete ones."""
    first = next(iter(scales.values()))
    for name, scale in scales.items():
        if scale is not first and scale != first:
            raise ValueError(
                f"model: site {name!r} depends on discrete sites and is scaled by {scale}, but "
                f"others by {first}; the sum over the discrete sites needs one scale"
            )
    return first
