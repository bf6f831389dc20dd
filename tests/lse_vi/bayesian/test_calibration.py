"""Bands and ranks: do posteriors hold the truth as often as they say?"""

import numpy as np
import pytest
import torch

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
    """Points of one set rise and fall together: six sets say 90 % to within 0.25 or so."""
    assert coverage(6, 100, guide="laplace", draws=200) > 0.65


@pytest.mark.slow
def test_bands_cover_at_their_level():
    assert 0.8 <= coverage(20, 300, draws=500) <= 0.97


@pytest.mark.slow
def test_ranks_of_simulated_truths_are_uniform():
    """Simulation-based calibration; nine quantities, so a thousandth each."""
    for row in calibration.sbc(100, seed=3, guide="full"):
        assert row["p"] > 0.001, row
