"""Supports that depend on other latents: each draw is transformed in its own."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive, Trace_ELBO

from lse_vi import AutoLSEICNN, fit_guide, sample_smc
from lse_vi.joint.effects import Placed, Unplaced

SEEN = torch.tensor(0.3, dtype=torch.float64)


def model(y):
    a = pyro.sample("a", dist.Uniform(0.0, 1.0))
    b = pyro.sample("b", dist.Uniform(0.0, 1 - a))
    pyro.sample("y", dist.Normal(a * b, 0.05), obs=y)


def evidence():
    """log p(y = 0.3 or less), by the midpoint rule over a and b / (1 - a)."""
    u = (torch.arange(2000) + 0.5) / 2000
    a, b = u.unsqueeze(1), u * (1 - u.unsqueeze(1))
    return float(dist.Normal(a * b, 0.05).log_prob(SEEN).exp().mean().log())


def test_values_and_jacobians_are_those_of_each_draw():
    joint = AutoLSEICNN(model).log_joint(SEEN)
    z = torch.randn(50, 2)
    a = torch.sigmoid(z[:, 0])
    b = (1 - a) * torch.sigmoid(z[:, 1])
    values = joint.values(z)
    torch.testing.assert_close(values["a"], a)
    torch.testing.assert_close(values["b"], b)
    jacobian = a * (1 - a) * b * (1 - b / (1 - a))
    exact = -(1 - a).log() + dist.Normal(a * b, 0.05).log_prob(SEEN) + jacobian.log()
    torch.testing.assert_close(joint(z), exact)


def test_there_and_back():
    parts = {"a": torch.tensor(0.3), "b": torch.tensor(-1.2)}
    with Placed(parts) as there, poutine.trace():
        model(SEEN)
    with Unplaced(there.values) as back, poutine.trace():
        model(SEEN)
    assert {n: float(x) for n, x in back.parts.items()} == pytest.approx({"a": 0.3, "b": -1.2})
    guide = AutoLSEICNN(model)
    guide(SEEN)
    z = torch.randn(3, 4, 2)
    torch.testing.assert_close(guide.unconstrain(guide.values(z)), z)


SEEDS = pytest.mark.parametrize(
    "seed", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))]
)


@SEEDS
def test_evidence_of_a_fit_and_of_draws(seed):
    guide = AutoLSEICNN(model)
    res = fit_guide(model, guide, SEEN, seed=seed, progress=False)
    draws = sample_smc(model, guide, SEEN, draws=2000, seed=seed, progress=False)
    for got in (res, draws):
        assert abs(got.log_evidence - evidence()) < 4.5 * got.log_evidence_error + 1e-3
    assert bool((draws.samples["a"] + draws.samples["b"] < 1).all())
    assert bool((guide.quantiles([0.1, 0.9])["b"] < 1).all())


@pytest.mark.parametrize("vectorised", [True, False])
def test_the_bound_of_pyro_is_that_of_the_log_joint(vectorised):
    guide = AutoLSEICNN(model, modes=1)
    guide(SEEN)
    z = guide.get_posterior().sample((4000,))
    gap = (guide.log_joint(SEEN)(z) - guide.get_posterior().log_prob(z)).detach()
    elbo = Trace_ELBO(num_particles=200, vectorize_particles=vectorised, max_plate_nesting=0)
    loss = elbo.loss(model, guide, SEEN)
    error = float(gap.std()) * math.sqrt(1 / 200 + 1 / 4000)
    assert abs(loss + float(gap.mean())) < 4.5 * error


def test_draws_by_predictive():
    guide = AutoLSEICNN(model, modes=1)
    drawn = Predictive(model, guide=guide, num_samples=20, return_sites=("a", "b"))(SEEN)
    assert bool((drawn["a"] + drawn["b"] < 1).all())
