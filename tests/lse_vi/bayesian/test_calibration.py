"""Bands and ranks: do posteriors hold the truth as often as they say?"""

import numpy as np
import pytest
import torch
from scipy.stats import binom

from benchmarks import calibration
from data_gen.mixtures import TWO
from lse_vi import fit_posterior
from lse_vi.bayesian.result import interval


def coverage(sets, n, **options):
    at = torch.as_tensor(np.linspace(-4.5, 3.5, 17))
    truth = torch.as_tensor(TWO.cdf(at.numpy()))
    held = []
    for seed in range(sets):
        post = fit_posterior(TWO.sample(n, seed), seed=seed, progress=False, **options)
        low, high = interval(post.cdf(at), 0.9)
        held.append(((low <= truth) & (truth <= high)).double().mean())
    return float(torch.stack(held).mean())


def test_bands_cover():
    """Bands of 90 % hold the truth in 46 of 60 cases at least, by the binomial law.

    The points of one set rise and fall together: by the variance of the share that is held, over 60
    other sets, 17 of them count as three, so twenty sets are 60 cases. Of these fewer than 46 are
    held once in 1,500 times if bands are right, and nearly always if they are half as wide (60 %).
    """
    cases = 3 * 20
    fewest = binom.ppf(1e-3, cases, 0.9)
    held = coverage(20, 100, guide="laplace", hidden=(), draws=200)
    assert held >= fewest / cases


@pytest.mark.slow
def test_bands_cover_at_their_level():
    assert 0.8 <= coverage(20, 300, draws=500) <= 0.97


@pytest.mark.slow
def test_ranks_of_simulated_truths_are_uniform():
    """Simulation-based calibration; nine quantities, so a thousandth each."""
    for row in calibration.sbc(100, seed=3, guide="full"):
        assert row["p"] > 0.001, row
