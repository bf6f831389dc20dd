"""Counts are repeated points in a posterior; relative weights are scaled to what they are worth."""

import pyro.poutine as poutine
import pytest
import torch

from lse_vi import BayesianDensity, compare_densities, density_to_arviz, fit_posterior


@pytest.fixture
def counted():
    x = torch.cat([torch.randn(25) - 3, torch.randn(25) + 2])
    return x, torch.randint(0, 4, (50,))


def test_the_log_joint_takes_counts_as_repeated_points(counted):
    x, counts = counted
    one = BayesianDensity(x, modes=2, weights=counts)
    many = BayesianDensity(x.repeat_interleave(counts), modes=2)
    theta = many.prior_sample(7)
    torch.testing.assert_close(one.log_joint(theta), many.log_joint(theta), rtol=1e-10, atol=1e-8)
    trace = poutine.trace(one).get_trace()
    theta = one.theta(trace.nodes["z"]["value"])
    torch.testing.assert_close(trace.log_prob_sum(), one.log_joint(theta) + one.root.logdet())


def test_the_evidence_under_counts_is_that_of_repeated_points(counted):
    x, counts = counted
    quick = {"modes": 1, "guide": "laplace", "progress": False}
    one = fit_posterior(x, weights=counts, **quick)
    many = fit_posterior(x.repeat_interleave(counts), **quick)
    assert one.evidence.log_evidence == pytest.approx(many.evidence.log_evidence, abs=1e-6)
    assert one.predictive(3).shape == (3, int(counts.sum()), 1)
    for use in (density_to_arviz, lambda posterior: compare_densities({"one": posterior})):
        with pytest.raises(ValueError, match=r"x\.repeat\(counts\)"):
            use(one)
