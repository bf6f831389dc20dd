"""One Gaussian mode for fewer points than a covariance needs, as in a small fold of few rows."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch

from lse_vi.distribution.density import LSEDensity
from lse_vi.network.icnn import WhitenedICNN
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.weighted import Weights

FLOOR = 1e-6  # least variance, as a share of the mean one: a column of equal values has none


def few_points(X: np.ndarray, weights: Any, held_out: float) -> bool:
    """Whether :func:`~lse_vi.fit_density` would refuse so few points."""
    n = float(len(X)) if weights is None else float(_worth(X, weights).sum())
    return math.floor(n) - round(held_out * n) < 2 * (X.shape[1] + 1)


def fit_few(X: np.ndarray, weights: Any) -> LSEDensity:
    """A Gaussian whose covariance is shrunk towards a multiple of the identity.

    By the oracle approximating shrinkage of Chen, Wiesel, Eldar & Hero (2010), which has a closed
    form, and with which covariances from fewer points than dimensions are regular.
    """
    w = np.ones(len(X)) if weights is None else _worth(X, weights)
    n, dim = float(w.sum()), X.shape[1]
    warnings.warn(
        f"{n:.4g} points are fewer than the {2 * (dim + 1)} that a density in {dim} dimensions "
        "needs; they get one Gaussian mode with a shrunk covariance",
        UserWarning,
        stacklevel=3,
    )
    x = X.astype(np.float64)
    mean = w @ x / n
    covariance = (x - mean).T @ (w[:, None] * (x - mean)) / n
    level = float(np.trace(covariance)) / dim
    if level <= 0:
        raise ValueError(f"X has {len(X)} samples that are all equal: a density needs spread")
    square = float((covariance**2).mean())
    below = (n + 1) * (square - level**2 / dim)
    share = 1.0 if below <= 0 else min((square + level**2) / below, 1.0)
    shrunk = (1 - share) * covariance + (share + FLOOR) * level * np.eye(dim)
    pot = LSEICNN(dim, 1, hidden=(), rho=1.0, network=WhitenedICNN, dtype=torch.float64)
    factor = np.linalg.inv(np.linalg.cholesky(shrunk))
    pot.network.reset_parameters(torch.as_tensor(mean)[None], torch.as_tensor(factor)[None])
    return LSEDensity(pot.requires_grad_(False))


def _worth(X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return Weights.of("sample_weight", weights, (len(X),)).values.numpy()
