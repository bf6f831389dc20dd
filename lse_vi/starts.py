"""Where a fit starts: modes on the clusters of the data, or on a Gaussian mixture."""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.special import logsumexp
from torch import Tensor

from lse_vi.bounds import log_det
from lse_vi.icnn import WhitenedICNN, whitened
from lse_vi.potential import LSEICNN

FLOOR = 1e-3  # least variance of a start: 3% of the data's spread keep equal points from a spike
STEEP = 3.0  # slope of the units at the start: with gentler ones Adam finds fewer walls
EM_STEPS, EM_GAIN = 100, 1e-5  # at most so many, while the log-likelihood gains that many nats


@torch.no_grad()
def start_on_clusters(pot: LSEICNN, x: Tensor, seed: int) -> None:
    """Put the modes on the clusters of the data, others for every restart (k-means++).

    Args:
        pot: of batch shape (restarts, *batch); its parameters are replaced.
        x: standardised data (n, *batch, dim).
        seed: of the clusters.
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
            cov = FLOOR * np.eye(dim)
            if len(own) > dim + 1:
                cov += np.cov(own.T, ddof=0).reshape(dim, dim)
            factors[r, b, k] = np.linalg.inv(np.linalg.cholesky(cov))
    like = pot.alpha
    pot.network.reset_parameters(
        torch.as_tensor(centers).to(like).reshape(*lead, dim),
        torch.as_tensor(factors).to(like).reshape(*lead, dim, dim),
    )


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
    network.icnn.bias[..., -1] -= (heights - heights.mean(-1, keepdim=True)).reshape(lead)


@torch.no_grad()
def prepare_walls(network: WhitenedICNN) -> None:
    """Make the units of modes that start as Gaussians steep, and let them bend all over the mode.

    They find the directions of its edges sooner than gentle ones that bend at its centre.
    """
    weight = network.icnn.weight[..., :-1, :].normal_(0.0, STEEP)
    network.icnn.bias[..., :-1] = -(weight * torch.randn_like(weight)).sum(-1)


def gaussian_mixture(
    x: np.ndarray, k: int, rng: np.random.Generator
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Expectation maximisation from k-means: log-likelihood per point, weights, means, factors.

    A factor L, lower triangular, whitens its component: u = L (x - mean). The log-likelihood is
    up to a constant.
    """
    dim = x.shape[-1]
    share = np.eye(k)[clusters(x, k, rng)[1]]
    before = -np.inf
    for _ in range(EM_STEPS):
        mass = share.sum(0) + 1e-9
        mean = share.T @ x / mass[:, None]
        centred = x - mean[:, None]  # (k, n, dim)
        cov = (centred * share.T[..., None]).swapaxes(1, 2) @ centred / mass[:, None, None]
        factor = np.linalg.inv(np.linalg.cholesky(cov + FLOOR * np.eye(dim)))
        white = centred @ factor.swapaxes(1, 2)
        height = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(-1)
        log_p = np.log(mass / len(x)) + height - 0.5 * (white**2).sum(-1).T  # (n, k)
        total = logsumexp(log_p, axis=1)
        share = np.exp(log_p - total[:, None])
        gain, before = total.mean() - before, total.mean()
        if gain < EM_GAIN:
            break
    return float(before), mass / mass.sum(), mean, factor


def clusters(points: np.ndarray, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """k-means centres and labels, none empty: jitter tells apart points that coincide."""
    exact = len(np.unique(points, axis=0)) >= k
    for attempt in range(20):
        jitter = 0.0
        if attempt or not exact:
            jitter = 0.03 * points.std(0) * rng.standard_normal(points.shape)
        try:
            return kmeans2(points + jitter, k, minit="++", seed=rng, missing="raise")
        except ClusterError:
            continue
    raise ValueError(f"modes: {k} clusters could not be found in {len(points)} points")
