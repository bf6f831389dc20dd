"""Angles as latents: one mode at the seam, evidence as by quadrature."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO

from lse_vi import AutoLSEICNN, fit_guide, sample_smc

SEAM = torch.tensor(math.pi, dtype=torch.float64)


def model(y, prior=0.1):
    a = pyro.sample("a", dist.VonMises(0.0, prior))
    pyro.sample("y", dist.VonMises(a, 20.0), obs=y)


def evidence(y, prior=0.1):
    t = torch.linspace(-math.pi, math.pi, 4001)[:-1]
    joint = dist.VonMises(0.0, prior).log_prob(t) + dist.VonMises(t, 20.0).log_prob(y)
    return float(joint.logsumexp(0)) + math.log(2 * math.pi / 4000)


@pytest.mark.parametrize("seed", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))])
def test_one_mode_at_the_seam(seed):
    draws = sample_smc(model, AutoLSEICNN(model), SEAM, draws=1000, seed=seed, progress=False)
    assert abs(draws.log_evidence - evidence(SEAM)) < 4.5 * draws.log_evidence_error
    assert len(draws.mode_weights) == 1
    assert abs(float(draws.mode_locations["a"][0])) == pytest.approx(math.pi, abs=0.02)
    angle = draws.samples["a"]
    assert bool((angle.abs() <= math.pi).all())
    assert float(angle.cos().mean()) == pytest.approx(-math.exp(-0.5 / 20), abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_fit_at_the_seam(seed):
    res = fit_guide(model, AutoLSEICNN(model), SEAM, seed=seed, progress=False)
    assert abs(res.log_evidence - evidence(SEAM)) < 0.01
    assert len(res.mode_weights) == 1


def test_two_modes_and_a_plate_of_angles():
    """An angle and its opposite are seen alike, in each of two places of a plate."""

    def two():
        with pyro.plate("places", 2):
            a = pyro.sample("a", dist.VonMises(0.0, 1e-3))
            pyro.sample("y", dist.Normal((2 * a).cos(), 0.3), obs=torch.ones(2))

    draws = sample_smc(two, AutoLSEICNN(two), draws=1000, progress=False)
    t = torch.linspace(-math.pi, math.pi, 4001)[:-1]
    one = dist.Normal((2 * t).cos(), 0.3).log_prob(torch.tensor(1.0)).exp().mean().log()
    assert abs(draws.log_evidence - 2 * float(one)) < 4.5 * draws.log_evidence_error
    assert draws.mode_weights.tolist() == pytest.approx([0.25] * 4, abs=0.1)
    assert draws.samples["a"].shape[-1] == 2


def test_the_bound_of_pyro_is_that_of_the_log_joint():
    guide = AutoLSEICNN(model, modes=1)
    guide.find_modes(SEAM)
    z = guide.get_posterior().sample((4000,))
    gap = (guide.log_joint(SEAM)(z) - guide.get_posterior().log_prob(z)).detach()
    elbo = Trace_ELBO(num_particles=1000, vectorize_particles=True, max_plate_nesting=0)
    error = float(gap.std()) * math.sqrt(1 / 1000 + 1 / 4000)
    assert abs(elbo.loss(model, guide, SEAM) + float(gap.mean())) < 4.5 * error
    assert guide.quantiles([0.5])["a"].shape == (1,)
