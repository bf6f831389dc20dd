"""Where modes start: one for a Gaussian, more where they help, shares that the posterior has."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import AutoLSEICNN
from lse_vi.guides.peak_search import find_peaks
from lse_vi.guides.placement import Placement, place

BEND, COUNT = 0.5, 20_000


def gaussian():
    pyro.sample("x", dist.Normal(torch.zeros(3), torch.tensor([0.1, 1.0, 10.0])).to_event(1))


def bent():
    """N(0, 1) in x0, and x1 about a parabola of it."""
    x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1).mask(False))
    pyro.factor("a", dist.Normal(0.0, 1.0).log_prob(x[..., 0]))
    pyro.factor("b", dist.Normal(BEND * x[..., 0] ** 2, 0.5).log_prob(x[..., 1]))


def draws_of_bent():
    x = torch.randn(COUNT)
    return torch.stack([x, BEND * x**2 + 0.5 * torch.randn(COUNT)], -1)


def two_kinds():
    """A Gaussian and a logistic peak of the same mass; Laplace's method gives the first 0.53."""
    x = pyro.sample("x", dist.Normal(0.0, 1.0).mask(False))
    one = dist.Normal(-20.0, 1.0).log_prob(x)
    two = 20.0 - x - 2 * torch.nn.functional.softplus(20.0 - x)
    pyro.factor("both", torch.logaddexp(one, two) - math.log(2.0))


def placed(model, modes, seed=0):
    torch.manual_seed(seed)
    guide = AutoLSEICNN(model, modes=modes)
    log_joint, prior = guide.in_units()
    placement = place(find_peaks(log_joint, prior.draws).peaks, log_joint, modes, prior)
    precision = placement.precision / log_joint.scale / log_joint.scale.unsqueeze(1)
    return Placement(
        log_joint.shift + log_joint.scale * placement.loc, precision, placement.log_share
    )


def log_density(placement, x):
    return torch.logsumexp(placement.log_prob(x) + placement.log_share, 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_gaussian_needs_no_second_mode(seed):
    one = placed(gaussian, 6, seed)
    assert len(one.loc) == 1
    torch.testing.assert_close(one.scale_tril[0], torch.diag(torch.tensor([0.1, 1.0, 10.0])))


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
def test_more_modes_come_closer_to_a_bent_peak(seed):
    x = draws_of_bent()
    values = [float(log_density(placed(bent, modes, seed), x).mean()) for modes in (1, 3, 8)]
    entropy = 1.0 + math.log(2 * math.pi) + math.log(0.5)  # of the target, in nats
    assert values[0] < values[1] < values[2] < -entropy + 0.02
    assert entropy + values[2] > -0.5  # of a gap of 1.5 with one


@pytest.mark.parametrize("modes", [2, 5])
def test_shares_follow_the_posterior_not_laplace(modes):
    both = placed(two_kinds, modes)
    left = both.log_share[both.loc[:, 0] < 0].exp().sum()
    assert float(left) == pytest.approx(0.5, abs=0.02)


def test_shares_sum_to_one_and_each_gaussian_is_normalised():
    some = placed(bent, 5)
    assert float(some.log_share.exp().sum()) == pytest.approx(1.0)
    frame = torch.cartesian_prod(*[torch.linspace(-15, 15, 1201)] * 2)
    mass = some.log_prob(frame).exp().sum(0) * (30 / 1200) ** 2
    torch.testing.assert_close(mass, torch.ones(len(some.loc)), rtol=1e-6, atol=1e-6)


def test_fewer_modes_than_peaks_keeps_the_heaviest():
    one = placed(two_kinds, 1)
    assert len(one.loc) == 1
    assert float(one.loc) == pytest.approx(-20.0, abs=1e-3)
