"""The prior's density and draws, where they are known."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import AutoLSEICNN

COUNT = 4000


def funnel():
    """Sites of different supports, one of which depends on another."""
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    share = pyro.sample("share", dist.Beta(2.0, 3.0))
    with pyro.plate("group", 3):
        pyro.sample("effect", dist.Normal(5 * share, scale))
    pyro.sample("y", dist.Normal(share, 1.0), obs=torch.tensor(0.5))


def by_hand(law, u):
    """The log prior of ``funnel`` at ``u`` (n, dim), written out."""
    z = law.log_joint.shift + law.log_joint.scale * u
    scale, share = z[:, 0].exp(), z[:, 1].sigmoid()
    value = dist.Normal(0.0, 1.0).log_prob(z[:, 0])
    value = value + dist.Beta(2.0, 3.0).log_prob(share) + (share * (1 - share)).log()
    effect = dist.Normal(5 * share[:, None], scale[:, None]).log_prob(z[:, 2:]).sum(1)
    return value + effect + law.log_joint.scale.log().sum()


def test_density_and_draws():
    _, prior = AutoLSEICNN(funnel).in_units()
    x = prior.law.sample(COUNT)
    torch.testing.assert_close(prior.law.log_prob(x), by_hand(prior.law, x))
    z = prior.law.log_joint.shift + prior.law.log_joint.scale * x
    for value, exact, spread in (
        (z[:, 0], 0.0, 1.0),
        (z[:, 1].sigmoid(), 0.4, 0.2),
        (z[:, 2:].mean(1), 2.0, 1.0 + math.exp(1.0)),  # of a mean of three, at most
    ):
        assert float(value.mean()) == pytest.approx(exact, abs=4.5 * spread / math.sqrt(COUNT))


def test_draws_one_by_one_where_a_plate_does_not_serve():
    def model():
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        pyro.sample("x", dist.Normal(torch.zeros(2), rate * torch.ones(2)).to_event(1))
        assert rate.dim() == 0  # in a plate it has a dimension more

    _, prior = AutoLSEICNN(model).in_units()
    assert prior.law.sample(50).shape == (50, 3)


@pytest.mark.parametrize("size", [2, 5, 7, 8, 35])
def test_vectors_as_long_as_the_trial_runs(size):
    """A vector of as many entries as a plate broadcasts along the wrong axis without an error."""

    def model():
        mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
        z = pyro.sample("z", dist.Normal(torch.zeros(size), 1.0).to_event(1))
        pyro.sample("y", dist.Normal(mean + z, 1.0).to_event(1), obs=torch.zeros(size))

    _, prior = AutoLSEICNN(model).in_units()
    for n in (1, size, 144):
        assert prior.law.sample(n).shape == (n, 1 + size)


@pytest.mark.parametrize(
    "law",
    [
        dist.Normal(0.0, 1.0).mask(False),
        dist.Normal(torch.zeros(2), 1.0).mask(False).to_event(1),
        dist.ImproperUniform(dist.constraints.real, (), ()),
    ],
    ids=["masked", "masked within", "improper"],
)
def test_no_density_where_it_is_not_normalised(law):
    def model():
        x = pyro.sample("x", law)
        pyro.sample("y", dist.Normal(x, 1.0).to_event(x.dim()), obs=torch.zeros_like(x))

    assert AutoLSEICNN(model).in_units()[1].law is None


def test_no_density_of_a_scaled_site():
    def model():
        with pyro.poutine.scale(scale=0.5):
            pyro.sample("x", dist.Normal(0.0, 1.0))

    assert AutoLSEICNN(model).in_units()[1].law is None


def test_no_density_where_a_site_depends_on_a_discrete_one():
    def model():
        k = pyro.sample("k", dist.Bernoulli(0.3))
        pyro.sample("x", dist.Normal(10 * k, 1.0))

    assert AutoLSEICNN(model).in_units()[1].law is None


def test_no_density_where_draws_are_not_finite():
    """A third of the draws has no unconstrained coordinates: the others are another law."""

    class Leaky(dist.Normal):
        def rsample(self, sample_shape=()):
            x = super().rsample(sample_shape)
            return torch.where(x > 0.4, torch.inf, x)

        sample = rsample

    def model():
        pyro.sample("x", Leaky(0.0, 1.0))

    assert AutoLSEICNN(model).in_units()[1].law is None


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_prior_in_any_units(scale, offset):
    """With its own draws as importance samples the evidence is that of the conjugate model."""

    def model():
        x = pyro.sample("x", dist.Normal(torch.tensor(offset * scale), scale))
        pyro.sample("y", dist.Normal(x, scale), obs=torch.tensor((offset + 1.0) * scale))

    log_joint, prior = AutoLSEICNN(model).in_units()
    value, log_prior = log_joint.with_prior(prior.law.sample(COUNT))
    weight = (value - log_prior).exp()
    exact = math.exp(float(dist.Normal(0.0, 2**0.5).log_prob(torch.tensor(1.0)))) / scale
    error = float(weight.std()) / math.sqrt(COUNT)
    assert float(weight.mean()) == pytest.approx(exact, abs=4.5 * error)
