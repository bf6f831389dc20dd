"""Where the fit of a mixture starts: the modes on the parts of a Gaussian mixture."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lse_vi.network.icnn import WhitenedICNN, whitened
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.clusters import gaussian_mixture
from lse_vi.numerics.linear_algebra import log_det

STEEP = 3.0  # slope of the units at the start: with gentler ones Adam finds fewer walls


@torch.no_grad()
def start_on_mixture(pot: LSEICNN, x: Tensor, seed: int, restarts: int) -> None:
    """Make the modes the components of the best Gaussian mixture that was found.

    Args:
        pot: with strongly convex modes, of batch shape (1, *batch); its parameters are replaced.
        x: standardised data (n, *batch, dim).
        seed: of the clusters that expectation maximisation starts from.
        restarts: how many times it starts.
    """
    lead, dim = pot.alpha.shape, pot.dim
    rng = np.random.default_rng(seed)
    points = x.reshape(len(x), -1, dim).cpu().double().numpy()  # (n, batch, dim)
    best = []
    for b in range(points.shape[1]):
        runs = [gaussian_mixture(points[:, b], pot.modes, rng) for _ in range(restarts)]
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
    """Make the units of modes that start as Gaussians steep, and let them bend all over the mode.

    They find the directions of its edges sooner than gentle ones that bend at its centre.
    """
    weight = network.icnn.weight[..., :-1, :].normal_(0.0, STEEP)
    network.icnn.bias[..., :-1] = -(weight * torch.randn_like(weight)).sum(-1)
