"""Missing data are latents, masked entries on which nothing depends are none."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO

from lse_vi import AutoLSEICNN, fit_guide, sample_smc

GAP = math.nan
Y = torch.tensor([1.0, 2.0, GAP, 3.0, GAP], dtype=torch.float64)


def imputed(law):
    def model(y):
        seen = ~y.isnan()
        level = pyro.sample("level", dist.Normal(0.0, 2.0))
        with pyro.plate("data", len(y)):
            return pyro.sample("y", law(level, 1.0), obs=y.nan_to_num(1.0), obs_mask=seen)

    return model


def evidence(y):
    """Of normal data: their covariance is 1 + 4 for each with itself, and 4 between two."""
    y = y[~y.isnan()]
    return dist.MultivariateNormal(torch.zeros(len(y)), torch.eye(len(y)) + 4.0).log_prob(y)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_imputation_has_the_evidence_of_what_was_seen(seed, dtype):
    model = imputed(dist.Normal)
    torch.set_default_dtype(dtype)
    guide = AutoLSEICNN(model)
    res = fit_guide(model, guide, Y.to(dtype), seed=seed, progress=False)
    assert guide.latent_dim == 3
    assert abs(res.log_evidence - float(evidence(Y))) < 0.01
    draws = guide.values(guide.get_posterior().sample((4000,)))
    missing, level = draws["y_unobserved"][:, 2], draws["level"]
    variance = 1 / (1 / 4 + 3)
    assert abs(float(missing.mean()) - 6 * variance) < 4.5 * math.sqrt((1 + variance) / 4000)
    assert float(level.var()) == pytest.approx(variance, rel=0.1)


def test_jacobians_of_entries_that_are_no_latents_do_not_count():
    """Positive data, whose density is that of their logarithm over themselves."""
    model, y = imputed(dist.LogNormal), Y.exp()
    draws = sample_smc(model, AutoLSEICNN(model), y, draws=1000, progress=False)
    exact = float(evidence(Y) - Y.nansum())
    assert abs(draws.log_evidence - exact) < 4.5 * draws.log_evidence_error + 1e-3
    guide = AutoLSEICNN(model, modes=1)
    guide(y)
    z = guide.get_posterior().sample((2000,))
    gap = (guide.log_joint(y)(z) - guide.get_posterior().log_prob(z)).detach()
    elbo = Trace_ELBO(num_particles=300, vectorize_particles=True, max_plate_nesting=1)
    error = float(gap.std()) * math.sqrt(1 / 300 + 1 / 2000)
    assert abs(elbo.loss(model, guide, y) + float(gap.mean())) < 4.5 * error


def test_there_and_back():
    guide = AutoLSEICNN(imputed(dist.LogNormal))
    guide(Y)
    z = torch.randn(4, 3)
    torch.testing.assert_close(guide.unconstrain(guide.values(z)), z)


def test_a_masked_site_that_a_factor_depends_on_is_a_flat_latent():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).mask(False).to_event(1))
        pyro.factor("f", dist.Normal(x, 0.5).log_prob(torch.ones(2)).sum())

    res = fit_guide(model, AutoLSEICNN(model), progress=False)
    assert res.guide.latent_dim == 2
    assert abs(res.log_evidence) < 1e-3


def test_other_gaps_need_another_fit():
    model = imputed(dist.Normal)
    guide = AutoLSEICNN(model)
    guide(Y)
    with pytest.raises(ValueError, match="mask of site 'y_unobserved' is not the one"):
        guide.log_joint(Y.flip(0))(torch.zeros(2, 3))
    res = fit_guide(model, guide, Y.flip(0), progress=False)
    assert abs(res.log_evidence - float(evidence(Y))) < 0.01


def test_a_model_whose_every_entry_is_masked():
    def model():
        pyro.sample("x", dist.Normal(0.0, 1.0).mask(False))

    with pytest.raises(RuntimeError, match="no latent variables"):
        AutoLSEICNN(model)()
