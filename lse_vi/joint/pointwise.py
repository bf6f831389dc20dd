"""The log-likelihood of single data where discrete sites are summed out."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from pyro.ops import packed
from pyro.ops.contract import contract_to_tensor
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from lse_vi.joint.enumeration import Ring, factor, plates_of


class Term(NamedTuple):
    """The log probability of a site that depends on discrete ones, with the plates around it."""

    ordinal: frozenset[str]
    value: Any  # a tensor on which Pyro has written the names of its dimensions
    observed: bool

    def meets(self, dims: set[str]) -> bool:
        """Whether it depends on any of the discrete sites in ``dims``."""
        return not dims.isdisjoint(self.value._pyro_dims)


def pointwise(trace: Trace, name: str, depth: int) -> Tensor | None:
    """log p of each element of an observed site given the continuous latents, (*batch).

    None if elements share a discrete site with each other or with other data, as the states of a
    hidden Markov model do: then there is no term that belongs to one element.

    Args:
        trace: of a run under :class:`~lse_vi.joint.enumeration.Enumerate`.
        name: of the observed site.
        depth: as in that class.
    """
    trace.symbolize_dims()
    site = trace.nodes[name]
    log_p = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    if not _is_discrete(log_p, depth):
        return log_p
    own = _term(trace, name, log_p, depth)
    others = _others(trace, name, depth)
    dims = set(trace.symbol_to_dim) - set(trace.plate_to_symbol.values())
    reached, before = dims.intersection(own.value._pyro_dims), set[str]()
    while reached != before:
        before = set(reached)
        for term in others:
            if term.meets(reached):
                reached |= dims.intersection(term.value._pyro_dims)
    others = [term for term in others if term.meets(reached)]
    if any(term.observed or not own.ordinal <= term.ordinal for term in others):
        return None
    sizes = {trace.plate_to_symbol[f.name]: f.size for f in plates_of(site) if f.size > 1}
    both = _sum([*others, own], dims, sizes) - _sum(others, dims, sizes)
    both._pyro_dims = "".join(sorted(sizes))
    return packed.unpack(both, trace.symbol_to_dim).expand(log_p.shape[-depth:])


def _others(trace: Trace, name: str, depth: int) -> list[Term]:
    """The terms of all other sites that depend on discrete ones."""
    terms = []
    for other, site in trace.nodes.items():
        if site["type"] == "sample" and other != name and not site_is_subsample(site):
            log_p = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
            if _is_discrete(log_p, depth):
                terms.append(_term(trace, other, log_p, depth))
    return terms


def _term(trace: Trace, name: str, log_p: Tensor, depth: int) -> Term:
    """The log probability of one site."""
    site = trace.nodes[name]
    ordinal = frozenset(trace.plate_to_symbol[frame.name] for frame in plates_of(site))
    return Term(ordinal, factor(name, site, log_p, depth), bool(site["is_observed"]))


def _is_discrete(log_p: Tensor, depth: int) -> bool:
    """Whether a log probability depends on a discrete site: its dimensions are left of all else."""
    return any(size > 1 for size in log_p.shape[: max(log_p.dim() - depth, 0)])


def _sum(terms: list[Term], dims: set[str], sizes: dict[str, int]) -> Any:
    """log of the product of terms, summed over ``dims``, for each element of plates ``sizes``."""
    tree = OrderedDict[frozenset[str], list[Tensor]]()
    for term in terms:
        tree.setdefault(term.ordinal, []).append(term.value)
    total = contract_to_tensor(tree, dims, frozenset(sizes), ring=Ring(dim_to_size=sizes))
    order = sorted(range(total.dim()), key=lambda i: total._pyro_dims[i])
    return torch.Tensor.permute(total, order)
