"""Terms of single data, discrete sites summed out; and draws of these sites."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import to_arviz

Y = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)


def mixture(y):
    """The label has a latent of its own: what is seen of that weighs the label too."""
    loc = pyro.sample("loc", dist.Normal(0.0, 3.0))
    with pyro.plate("data", 3):
        label = pyro.sample("label", dist.Bernoulli(0.3))
        size = pyro.sample("size", dist.Normal(label, 1.0))
        pyro.sample("y", dist.Normal(label * loc + size, 0.5), obs=y)


def chain(y):
    pyro.sample("loc", dist.Normal(0.0, 3.0))
    state = torch.zeros(())
    for t in pyro.markov(range(3)):
        state = pyro.sample(f"state{t}", dist.Bernoulli(0.2 + 0.5 * state))
        pyro.sample(f"y{t}", dist.Normal(state, 1.0), obs=y[t])


def draws(n):
    return {"loc": torch.randn(1, n), "size": torch.randn(1, n, 3)}


def test_terms_are_those_by_hand():
    given = draws(7)
    got = to_arviz(given, mixture, Y, prior=False)
    loc, size = given["loc"][0].unsqueeze(1), given["size"][0]
    one = dist.Normal(1.0, 1.0).log_prob(size) + math.log(0.3)
    zero = dist.Normal(0.0, 1.0).log_prob(size) + math.log(0.7)
    seen_one = dist.Normal(loc + size, 0.5).log_prob(Y)
    seen_zero = dist.Normal(size, 0.5).log_prob(Y)
    both = torch.logaddexp(one + seen_one, zero + seen_zero) - torch.logaddexp(one, zero)
    np.testing.assert_allclose(got["log_likelihood"]["y"].values[0], both.numpy(), rtol=1e-9)
    assert set(got["posterior"].data_vars) == {"loc", "size"}
    assert got["posterior_predictive"]["y"].shape == (1, 7, 3)


def test_labels_are_drawn_from_their_law_given_all_else():
    n = 600
    given = {name: value[:, :1].expand(1, n, *value.shape[2:]) for name, value in draws(1).items()}
    got = to_arviz(given, mixture, Y, prior=False, discrete=True, seed=0)
    loc, size = given["loc"][0, 0], given["size"][0, 0]
    one = dist.Normal(1.0, 1.0).log_prob(size) + dist.Normal(loc + size, 0.5).log_prob(Y)
    zero = dist.Normal(0.0, 1.0).log_prob(size) + dist.Normal(size, 0.5).log_prob(Y)
    share = torch.sigmoid(one - zero + math.log(3 / 7)).numpy()
    labels = got["posterior"]["label"].values[0]
    error = np.sqrt(share * (1 - share) / n)
    assert bool((np.abs(labels.mean(0) - share) < 4.5 * error + 1e-9).all())
    assert got["log_likelihood"]["y"].shape == (1, n, 3)


def test_data_that_share_a_state_have_terms_only_beside_its_draws():
    given = {"loc": torch.zeros(1, 5)}
    assert "log_likelihood" not in to_arviz(given, chain, Y, prior=False)
    got = to_arviz(given, chain, Y, prior=False, discrete=True)
    expected = dist.Normal(torch.as_tensor(got["posterior"]["state1"].values), 1.0).log_prob(Y[1])
    np.testing.assert_allclose(got["log_likelihood"]["y1"].values, expected.numpy())


def test_all_at_once_is_refused_by_name():
    with pytest.raises(ValueError, match=r"site 'label' is discrete .* or discrete=True"):
        to_arviz(draws(3), mixture, Y, parallel=True, prior=False)
