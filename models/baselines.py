"""What a user would reach for instead: kernel estimates and a Gaussian mixture, one per time.

The Schlögl study compares its densities with these.
"""

from __future__ import annotations

import warnings

import numpy as np
from KDEpy import FFTKDE
from scipy.stats import gaussian_kde
from sklearn.mixture import GaussianMixture

from data_gen.arrays import FloatArray, IntArray

MOST_COMPONENTS = 5


def laws(counts: IntArray, n_max: int) -> dict[str, FloatArray]:
    """Laws on 0..n_max from counts (trajectories, times), each (times, n_max + 1).

    ``kde_scott``: scipy's KDE with Scott's rule; ``kde_isj``: KDEpy's with the improved
    Sheather-Jones bandwidth, the one made for several modes; ``gmm_bic``: scikit-learn's Gaussian
    mixture with 1 to 5 components by BIC.
    """
    grid = np.arange(n_max + 1.0)
    methods = {"kde_scott": _scott, "kde_isj": _isj, "gmm_bic": _mixture}
    columns = [column.astype(float) for column in counts.T]
    densities = {name: np.array([f(x, grid) for x in columns]) for name, f in methods.items()}
    return {name: p / p.sum(-1, keepdims=True) for name, p in densities.items()}


def _scott(x: FloatArray, grid: FloatArray) -> FloatArray:
    return gaussian_kde(x)(grid)


def _isj(x: FloatArray, grid: FloatArray) -> FloatArray:
    wide = np.arange(-200.0, grid[-1] + 201.0)  # KDEpy wants room around the data
    with warnings.catch_warnings():
        # At t = 0.5 the law is nearly a point for KDEpy's root search; it says so and goes on.
        warnings.simplefilter("ignore")
        return FFTKDE(bw="ISJ").fit(x).evaluate(wide)[200 : 200 + len(grid)]


def _mixture(x: FloatArray, grid: FloatArray) -> FloatArray:
    column = x[:, None]
    fits = [
        # reg_covar: no component narrower than a count, as equal counts would make a spike.
        GaussianMixture(k, n_init=5, random_state=0, reg_covar=1.0).fit(column)
        for k in range(1, MOST_COMPONENTS + 1)
    ]
    best = min(fits, key=lambda fit: fit.bic(column))
    return np.exp(best.score_samples(grid[:, None]))
