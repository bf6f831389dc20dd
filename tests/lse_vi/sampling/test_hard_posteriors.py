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


def log_p_of_schools(y, sd, mu, log_tau):
    """log p(y, mu, log tau) of eight schools on a grid, the effects integrated out."""
    log_p = dist.Normal(0.0, 5.0).log_prob(mu) + dist.HalfCauchy(5.0).log_prob(log_tau.exp())
    for each, own in zip(y, sd, strict=True):
        log_p = log_p + dist.Normal(mu, (own**2 + (2 * log_tau).exp()).sqrt()).log_prob(each)
    return log_p + log_tau


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2))])
def test_the_neck_of_a_funnel_is_met(seed):
    """Centred eight schools: a tenth of the mass lies at small scales, where no peak is."""
    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], dtype=torch.float64)
    sd = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0], dtype=torch.float64)

    def model():
        mu = pyro.sample("mu", dist.Normal(torch.zeros(()).double(), 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(torch.tensor(5.0).double()))
        with pyro.plate("school", 8):
            theta = pyro.sample("theta", dist.Normal(mu, tau))
            pyro.sample("y", dist.Normal(theta, sd), obs=y)

    mu, log_tau = (
        torch.linspace(-40, 40, 801).double()[:, None],
        torch.linspace(-14, 9, 801).double(),
    )
    p = (log_p_of_schools(y, sd, mu, log_tau) + math.log(0.1 * 23 / 800)).exp()
    draws = sample_smc(model, AutoLSEICNN(model), seed=seed, progress=False)
    assert abs(draws.log_evidence - float(p.sum().log())) < 4 * draws.log_evidence_error
    assert draws.log_evidence_error < 0.03
    below = float(p[:, log_tau < math.log(0.5)].sum() / p.sum())
    assert float((draws.samples["tau"] < 0.5).double().mean()) == pytest.approx(below, abs=0.04)
