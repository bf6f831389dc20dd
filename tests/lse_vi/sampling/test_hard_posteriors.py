"""Posteriors at which earlier versions were wrong without a word, with their right values."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import AutoLSEICNN, fit_guide, sample_smc

QUIET = {"progress": False}
WEIGHTS = torch.tensor([0.4, 0.25, 0.15, 0.1, 0.09, 0.01], dtype=torch.float64)


def six_gaussians(seed):
    """Six Gaussians in 30-D of unequal weights, and of deviations from 0.3 to 3."""
    torch.manual_seed(100 + seed)
    means = 12 * (torch.rand(6, 30) - 0.5)
    scales = 0.3 * 10 ** torch.rand(6, 30)

    def model():
        x = pyro.sample("x", dist.Normal(torch.zeros(30), 5.0).to_event(1).mask(False))
        each = dist.Normal(means, scales).to_event(1).log_prob(x.unsqueeze(-2))
        pyro.factor("f", torch.logsumexp(each + WEIGHTS.log(), -1))

    return model


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2))])
def test_a_light_mode_among_heavy_ones_in_30_dimensions(seed):
    model = six_gaussians(seed)
    guide = AutoLSEICNN(model)
    res = fit_guide(model, guide, seed=seed, **QUIET)
    assert res.warnings == ()
    assert res.log_evidence == pytest.approx(0.0, abs=0.02)
    torch.testing.assert_close(res.mode_weights, WEIGHTS, rtol=0.25, atol=0.01)
    draws = sample_smc(model, guide, seed=seed, **QUIET)
    assert abs(draws.log_evidence) < 4 * draws.log_evidence_error
    torch.testing.assert_close(draws.mode_weights, WEIGHTS, rtol=0.25, atol=0.01)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_priors_of_ten_digits(seed):
    def model():
        x = pyro.sample("x", dist.Normal(torch.tensor(1e10), 1e9))
        low, high = dist.Normal(8e9, 2e7).log_prob(x), dist.Normal(1.2e10, 2e7).log_prob(x)
        pyro.factor("f", torch.logaddexp(low + math.log(0.3), high + math.log(0.7)))

    res = fit_guide(model, AutoLSEICNN(model), seed=seed, **QUIET)
    width = math.hypot(1e9, 2e7)
    log_z = float(dist.Normal(0.0, width).log_prob(torch.tensor(2e9)))  # of both: 2e9 from 1e10
    assert res.log_evidence == pytest.approx(log_z, abs=1e-3)
    assert res.mode_weights.tolist() == pytest.approx([0.7, 0.3], abs=0.02)
    assert res.warnings == ()


def test_eight_schools_in_single_precision():
    torch.set_default_dtype(torch.float32)
    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    errors = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

    def schools(y):
        mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
        spread = pyro.sample("spread", dist.HalfCauchy(5.0))
        with pyro.plate("school", 8):
            effect = mean + spread * pyro.sample("effect", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(effect, errors), obs=y)

    guide = AutoLSEICNN(schools)
    res = fit_guide(schools, guide, y, **QUIET)
    assert res.log_evidence == pytest.approx(-31.311, abs=0.02)  # by quadrature
    assert len(res.mode_weights) == 1
    draws = sample_smc(schools, guide, y, **QUIET)
    assert abs(draws.log_evidence + 31.311) < 4 * draws.log_evidence_error
    assert draws.warnings == ()
