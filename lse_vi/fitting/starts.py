"""The start of a fit: each mode on a cluster of the data."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.clusters import LEAST_VARIANCE, clusters


@torch.no_grad()
def start_on_clusters(pot: LSEICNN, x: Tensor, seed: int, weights: Tensor | None = None) -> None:
    """Put the modes on clusters of the data (k-means++), drawn anew for every restart.

    Use it to start a fit of several modes, which otherwise may end with all of them in one well.

    Args:
        pot: of batch shape (restarts, *batch); its modes are replaced.
        x: standardised data (n, *batch, dim).
        seed: of the clusters.
        weights: of the points, (n, *batch) or (n, *1s); None for points without.

    Raises:
        ValueError: if k-means does not find as many clusters as modes.

    Example:
        >>> pot = LSEICNN(2, 3, batch_shape=(4,))
        >>> start_on_clusters(pot, torch.randn(50, 2), seed=0)
    """
    lead, dim = pot.alpha.shape, pot.dim
    rng = np.random.default_rng(seed)
    points = x.reshape(len(x), -1, dim).cpu().numpy()  # (n, batch, dim)
    worth = columns_of(weights, x)
    centers = np.empty((lead[0], points.shape[1], pot.modes, dim))
    factors = np.empty((*centers.shape, dim))
    for r, b in np.ndindex(*centers.shape[:2]):
        centers[r, b], label = clusters(points[:, b], pot.modes, rng, worth[b])
        for k in range(pot.modes):
            mine, w = label == k, worth[b]
            own = points[mine, b]
            cov = LEAST_VARIANCE * np.eye(dim)
            if len(own) > dim + 1:  # enough for a covariance of full rank
                cov += np.cov(own.T, ddof=0, aweights=None if w is None else w[mine]).reshape(
                    dim, dim
                )
            factors[r, b, k] = np.linalg.inv(np.linalg.cholesky(cov))
    like = pot.alpha
    pot.network.reset_parameters(
        torch.as_tensor(centers).to(like).reshape(*lead, dim),
        torch.as_tensor(factors).to(like).reshape(*lead, dim, dim),
    )


def columns_of(weights: Tensor | None, x: Tensor) -> list[np.ndarray | None]:
    """The weights (n,) of each data set of ``x`` (n, *batch, dim); None for points without."""
    sets = x.shape[1:-1].numel()
    if weights is None:
        return [None] * sets
    columns = weights.expand(x.shape[:-1]).reshape(len(x), sets)
    return list(columns.T.cpu().double().numpy())
