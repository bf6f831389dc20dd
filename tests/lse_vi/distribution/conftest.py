"""Distribution functions that samples are compared with, and what the draws of a rule say."""

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def cdfs(window):
    """The distribution function of each density of a batch in one dimension, by midpoints."""

    def of(q):
        low, high = window(q)
        edges = np.linspace(low.item(), high.item(), 20_001)
        middles = torch.as_tensor((edges[1:] + edges[:-1]) / 2)
        with torch.no_grad():
            p = q.log_prob(middles.reshape(-1, *[1] * len(q.batch_shape), 1)).exp()
        mass = p.reshape(len(middles), -1).numpy() * (edges[1] - edges[0])
        total = np.vstack([np.zeros_like(mass[:1]), mass.cumsum(0)])
        return [lambda x, c=column: np.interp(x, edges, c) for column in total.T]

    return of


def _estimate(q, values):
    """E_q of values (n, *batch, k) at the draws of a density's rule, and its standard error.

    The error is that of a ratio of two means, by the delta method.
    """
    p = q.rule.probabilities(q.potential).unsqueeze(-1)
    mean = (p * values).sum(0)
    return mean, (p * (values - mean)).square().sum(0).sqrt()


@pytest.fixture(scope="session")
def estimate():
    return _estimate
