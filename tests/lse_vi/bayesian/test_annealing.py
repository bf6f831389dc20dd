"""Annealed draws and their evidence."""

import pytest
import torch

from lse_vi import BayesianDensity
from lse_vi.bayesian.annealing import anneal, tail_shape
from lse_vi.bayesian.laplace import find_mode, laplace_root
from lse_vi.bayesian.proposals import Student


def test_evidence_of_a_tiny_model_is_that_of_brute_force():
    """Two Gaussian modes and 6 points: prior draws estimate p(x) without any guide."""
    model = BayesianDensity(torch.tensor([-1.2, -1.0, -0.8, 0.9, 1.0, 1.2]), modes=2, hidden=())
    log_likelihood = model.log_likelihood(model.prior_sample(400_000)).sum(0)
    w = (log_likelihood - log_likelihood.max()).exp()
    assert float(w.std() / w.mean()) < 0.03 * 400_000**0.5  # its own error, in nats
    expected = float(log_likelihood.max() + w.mean().log())
    center = find_mode(model)
    root = laplace_root(model.log_joint, center, model.coordinates.prior_sd)
    wide = Student(center, 2 * root)
    found = [anneal(model, wide, 2000) for _ in range(4)]
    for one in found:
        assert abs(one.log_evidence - expected) < 4 * one.log_evidence_error + 0.06
    spread = float(torch.tensor([one.log_evidence for one in found]).std())
    assert spread < 3 * found[0].log_evidence_error


def test_a_log_joint_that_is_nowhere_finite_is_refused():
    model = BayesianDensity(torch.randn(20), modes=1, hidden=())
    model.unit_log_joint = lambda theta: torch.full_like(theta[:, 0], torch.nan)
    law = Student(torch.zeros(model.size), torch.eye(model.size))
    with pytest.raises(ValueError, match="NaN or minus infinity at all 50 draws of the guide"):
        anneal(model, law, 50)
    assert tail_shape(model, law, 50) == torch.inf
