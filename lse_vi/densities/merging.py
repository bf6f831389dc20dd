"""The merger of two modes, for a fit with more modes than the data have clusters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lse_vi.densities.starts import prepare_walls
from lse_vi.network.icnn import WhitenedICNN
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.clusters import LEAST_VARIANCE


@torch.no_grad()
def merge_closest(
    pot: LSEICNN, x: Tensor, theirs: Tensor | None = None, weights: Tensor | None = None
) -> LSEICNN:
    r"""``pot`` with one mode in place of the two that share the most points.

    How much modes i and j share is measured by :math:`\cos(r_i, r_j)`, the cosine of their
    responsibilities for all points (Ueda et al. 2000). The new mode is a bowl with the mean and
    covariance of the points of both modes. Its height equals, on average over these points, the
    height of the two modes together.

    Args:
        pot: with two modes or more.
        x: points (n, *batch, dim).
        theirs: the probability of each point to be of one of the modes, (n, *batch); 1 by default.
        weights: of the points, (n, *batch) or (n, *1s); 1 by default.

    Example:
        >>> pot = LSEICNN(2, 5, network=WhitenedICNN)
        >>> merge_closest(pot, torch.randn(100, 2)).modes
        4
    """
    r = pot.responsibilities(x)  # (n, *batch, modes)
    if theirs is not None:
        r = r * theirs.unsqueeze(-1)
    w = torch.ones_like(r[..., 0]) if weights is None else weights.to(r)
    first, second = _closest(r * w.sqrt().unsqueeze(-1))
    modes = torch.arange(pot.modes, device=r.device)
    both = (r * ((modes == first) | (modes == second))).sum(-1)  # (n, *batch)
    share = w * both
    share = share / share.sum(0)
    loc = (share.unsqueeze(-1) * x).sum(0)
    centred = x - loc
    cov = torch.einsum("n...,n...i,n...j->...ij", share, centred, centred)
    cov = cov + LEAST_VARIANCE * torch.eye(pot.dim).to(cov)
    factor = torch.linalg.inv(torch.linalg.cholesky(cov))

    one = pot.blank(1)
    one.log_rho.copy_(pot.log_rho)
    one.network.reset_parameters(loc.unsqueeze(-2), factor.unsqueeze(-3))
    if isinstance(one.network, WhitenedICNN):
        prepare_walls(one.network)
    # The two modes make up the share ``both`` of the sum over K modes in exp(-rho E), whose mean
    # has the factor 1/K: their own energy is E - (log K + log both) / rho.
    part = (math.log(pot.modes) + torch.xlogy(share, both).sum(0)) / pot.rho
    one.add_offset_((share * (pot(x) - one(x))).sum(0) - part)

    here, new = modes == first, one.state_dict()
    tensors = {
        name: torch.where(here.reshape(here.shape + (1,) * (p.dim() - here.dim())), new[name], p)
        for name, p in pot.named_parameters()
        if name != "log_rho"
    }
    return pot.with_parameters(tensors).prune(modes != second)


def _closest(r: Tensor) -> tuple[Tensor, Tensor]:
    """The two modes with the largest cosine of responsibilities (n, *batch, modes).

    Returns two indices, each (*batch, 1).
    """
    unit = r / r.norm(dim=0).clamp_min(torch.finfo(r.dtype).tiny)
    cosine = torch.einsum("n...i,n...j->...ij", unit, unit)
    pairs = torch.ones_like(cosine, dtype=torch.bool).triu(1)
    best = torch.where(pairs, cosine, -1.0).flatten(-2).argmax(-1, keepdim=True)
    return best // r.shape[-1], best % r.shape[-1]
