"""The start of a fit: each mode on a cluster of the data."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.clusters import LEAST_VARIANCE, clusters


@torch.no_grad()
def start_on_clusters(pot: LSEICNN, x: Tensor, seed: int) -> None:
    """Put the modes on clusters of the data (k-means++), drawn anew for every restart.

    Use it to start a fit of several modes, which otherwise may end with all of them in one well.

    Args:
        pot: of batch shape (restarts, *batch); its modes are replaced.
        x: standardised data (n, *batch, dim).
        seed: of the clusters.

    Raises:
        ValueError: if k-means does not find as many clusters as modes.

    Example:
        >>> pot = LSEICNN(2, 3, batch_shape=(4,))
        >>> start_on_clusters(pot, torch.randn(50, 2), seed=0)
    """
    lead, dim = pot.alpha.shape, pot.dim
    rng = np.random.default_rng(seed)
    points = x.reshape(len(x), -1, dim).cpu().numpy()  # (n, batch, dim)
    centers = np.empty((lead[0], points.shape[1], pot.modes, dim))
    factors = np.empty((*centers.shape, dim))
    for r, b in np.ndindex(*centers.shape[:2]):
        centers[r, b], label = clusters(points[:, b], pot.modes, rng)
        for k in range(pot.modes):
            own = points[label == k, b]
            cov = LEAST_VARIANCE * np.eye(dim)
            if len(own) > dim + 1:  # enough for a covariance of full rank
                cov += np.cov(own.T, ddof=0).reshape(dim, dim)
            factors[r, b, k] = np.linalg.inv(np.linalg.cholesky(cov))
    like = pot.alpha
    pot.network.reset_parameters(
        torch.as_tensor(centers).to(like).reshape(*lead, dim),
        torch.as_tensor(factors).to(like).reshape(*lead, dim, dim),
    )
