"""The start of a fit of strongly convex modes: one on each component of a Gaussian mixture."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lse_vi.densities.background import Background
from lse_vi.fitting.starts import columns_of
from lse_vi.network.icnn import WhitenedICNN, whitened
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.clusters import gaussian_mixture
from lse_vi.numerics.linear_algebra import log_det
from lse_vi.random.draws import generator, randn_like

# Standard deviation of the slopes of the softplus units at the start, in the frame of the mode:
# with gentler ones Adam finds fewer walls.
START_SLOPE = 3.0


@torch.no_grad()
def start_on_mixture(
    pot: LSEICNN,
    x: Tensor,
    seed: int,
    restarts: int,
    background: Background | None = None,
    weights: Tensor | None = None,
) -> None:
    """Set the modes to the components of the best of several Gaussian mixtures.

    Args:
        pot: with strongly convex modes, of batch shape (1, *batch); its parameters are replaced.
        x: standardised data (n, *batch, dim).
        seed: for the clusters on which EM starts.
        restarts: number of mixtures fitted by EM.
        background: a part beside the modes, which they leave to it.
        weights: of the points, (n, *batch) or (n, *1s); None for points without.
    """
    lead, dim = pot.alpha.shape, pot.dim
    rng = np.random.default_rng(seed)
    points = x.reshape(len(x), -1, dim).cpu().double().numpy()  # (n, batch, dim)
    beside: list[np.ndarray | None] = [None] * points.shape[1]
    if background is not None:  # the mixture leaves out log(2 pi) dim / 2
        constant = 0.5 * dim * math.log(2 * math.pi)
        law = background.log_density(x) + constant
        beside = list(law.reshape(len(x), -1).T.cpu().double().numpy())
    worth = columns_of(weights, x)
    best = []
    for b, other in enumerate(beside):
        runs = [
            gaussian_mixture(points[:, b], pot.modes, rng, other, worth[b]) for _ in range(restarts)
        ]
        best.append(max(runs, key=lambda run: run[0])[1:])
    weights, means, factors = (
        torch.as_tensor(np.stack(parts)).to(pot.alpha) for parts in zip(*best, strict=True)
    )
    network = whitened(pot.network)
    loc, factor = means.reshape(*lead, dim), factors.reshape(*lead, dim, dim)
    network.reset_parameters(loc, factor)
    prepare_walls(network)
    heights = weights.log() + log_det(factors)
    network.add_offset_(-(heights - heights.mean(-1, keepdim=True)).reshape(lead))


@torch.no_grad()
def prepare_walls(network: WhitenedICNN) -> None:
    """Make the softplus units steep, and let them bend at random places all over the mode.

    For modes that start as Gaussians: such units find the directions of the mode's edges sooner
    than gentle units that bend at its centre.
    """
    weight = network.icnn.weight[..., :-1, :]
    weight.normal_(0.0, START_SLOPE, generator=generator(weight.device))
    network.icnn.bias[..., :-1] = -(weight * randn_like(weight)).sum(-1)
