"""Points of the frame of a mode, over which its mass and its moments are sums."""

from __future__ import annotations

import math
from functools import lru_cache

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
