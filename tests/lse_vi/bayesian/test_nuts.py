"""Chains of NUTS, which know nothing of the guide."""

import random

import numpy as np
import torch

from lse_vi import fit_posterior, sample_posterior


def test_nuts_agrees_with_the_guide():
    x = torch.cat([torch.randn(40) - 3, torch.randn(40) + 3])
    fit = fit_posterior(x, modes=2, hidden=(), progress=False)
    random.seed(1), np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    torch.set_num_threads(2)
    chain = sample_posterior(fit, chains=2, draws=120, warmup=40, progress=False)
    assert torch.get_num_threads() == 2
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    assert chain.theta.shape == (2, 120, 6)
    at = torch.linspace(-4, 4, 9)
    gap = (fit.cdf(at).mean(0) - chain.cdf(at).mean(0)).abs()
    assert (gap < 0.5 * fit.cdf(at).std(0) + 0.002).all()
