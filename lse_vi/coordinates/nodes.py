"""Points of the frame of a mode, over which its mass and its moments are sums."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

# The three tables are by dimension. In more dimensions there are fewer nodes per axis, as their
# number grows with the power dim, and so less steep units are resolved.
NODES = {1: 64, 2: 28, 3: 16}  # per axis of the frame
# c of the nodes NODE_RADIUS sinh(c t) / sinh(c), t even: at the peak, where g_k bends, they are
# cosh(c) times as dense as at the edge, 27 times for c = 4 and 10 times for c = 3.
STRETCH = {1: 4.0, 2: 3.0, 3: 3.0}
STEEPEST = {1: 20.0, 2: 10.0, 3: 6.0}  # largest slope of a unit in the frame that nodes resolve
# Radius of the nodes, in standard deviations of the Gaussian above every mode: less than 1e-8 of
# its mass is outside.
NODE_RADIUS = 6.5
# Gauss-Legendre nodes on an interval that bounds cut out of the line: with as many as on the line,
# units of the steepest slope that bend near the peak are resolved to 1e-8.
CUT_NODES = 64


@lru_cache(maxsize=len(NODES))
def ball(dim: int) -> tuple[Tensor, Tensor]:
    """Nodes (n, dim) in a ball, dense at 0, and log(weight exp(-|u|^2/2)) of each, (n,)."""
    c = STRETCH[dim]
    t = torch.linspace(-1, 1, NODES[dim], dtype=torch.float64)
    ticks = NODE_RADIUS * (c * t).sinh() / math.sinh(c)
    log_w = (NODE_RADIUS * c * (c * t).cosh() / math.sinh(c) * (t[1] - t[0])).log()
    u = torch.cartesian_prod(*[ticks] * dim).reshape(-1, dim)
    w = torch.cartesian_prod(*[log_w] * dim).reshape(-1, dim).sum(-1)
    inside = u.norm(dim=-1) <= NODE_RADIUS * (1 + 1e-9)  # rounding must not drop the end nodes
    return u[inside], (w - 0.5 * u.square().sum(-1))[inside]


def between(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    r"""Nodes u (*shape, n) in [low, high], and log(weight exp(-u^2/2)) of each.

    They follow the ends, which may be infinite, so sums over them have gradients in these. Like
    those of :func:`ball` they are dense at 0; where 0 is outside, they are near the end beside it.
    There exp(-u^2/2 - g) falls off at least as fast as exp(-u^2/2): beyond the root of end^2 +
    ``NODE_RADIUS``^2 nothing is left, relative to the end.

    Example:
        >>> u, log_w = between(torch.tensor(1.0), torch.tensor(torch.inf))
        >>> round(float(log_w.exp().sum() / math.sqrt(2 * math.pi)), 6)  # the normal tail above 1
        0.158655
    """
    first = torch.maximum(low, -(high.clamp_max(0.0).square() + NODE_RADIUS**2).sqrt())
    last = torch.minimum(high, (low.clamp_min(0.0).square() + NODE_RADIUS**2).sqrt())
    c = STRETCH[1]
    first, last = (torch.asinh(end * math.sinh(c) / NODE_RADIUS) / c for end in (first, last))
    ticks, weights = (torch.as_tensor(part).to(low) for part in _legendre())
    half = (0.5 * (last - first)).unsqueeze(-1)
    t = c * (first.unsqueeze(-1) + half * (1 + ticks))
    u = NODE_RADIUS * t.sinh() / math.sinh(c)
    log_w = (weights * half * NODE_RADIUS * c / math.sinh(c) * t.cosh()).log()
    return u, log_w - 0.5 * u.square()


@lru_cache(maxsize=1)
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    """Ticks and weights of Gauss-Legendre's rule on [-1, 1]."""
    return np.polynomial.legendre.leggauss(CUT_NODES)
