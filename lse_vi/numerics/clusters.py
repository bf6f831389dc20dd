"""Groups of points: k-means, and Gaussian mixtures by expectation maximisation."""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.special import logsumexp

LEAST_VARIANCE = 1e-3  # of a start: 3 % of the data's spread keep equal points from a spike
EM_STEPS, EM_GAIN = 100, 1e-5  # at most so many, while the log-likelihood gains that many nats


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
        factor = np.linalg.inv(np.linalg.cholesky(cov + LEAST_VARIANCE * np.eye(dim)))
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
