"""The mixture of wide laws around a guide."""

import math
from dataclasses import replace

import pytest
import torch

from lse_vi.guides.proposal import FREEDOM, Proposal, prior_units


@pytest.fixture
def law():
    root = 0.5 * torch.randn(3, 2, 2).tril()
    root.diagonal(dim1=1, dim2=2).abs_().add_(0.5)
    return Proposal(2 * torch.randn(3, 2), root, torch.log_softmax(torch.randn(3), 0))


def test_it_is_torchs_multivariate_t(law):
    x = 3 * torch.randn(50, 2)
    # The density of t along one axis, from torch, where the other coordinate is integrated out.
    one = Proposal(torch.zeros(1, 1), torch.ones(1, 1, 1), torch.zeros(1))
    exact = torch.distributions.StudentT(FREEDOM).log_prob(x[:, 0])
    torch.testing.assert_close(one.log_prob(x[:, :1]), exact)
    ticks = torch.linspace(-200, 200, 2001)
    points = torch.cartesian_prod(ticks, ticks)
    mass = law.log_prob(points).exp().sum() * 0.2**2
    assert float(mass) == pytest.approx(1.0, abs=1e-3)


def test_its_slope_is_that_of_its_density(law):
    x = (3 * torch.randn(20, 2)).requires_grad_()
    (slope,) = torch.autograd.grad(law.log_prob(x).sum(), x)
    each, total, given = law.value_and_gradients(x.detach())
    torch.testing.assert_close(given, slope)
    torch.testing.assert_close(total, law.log_prob(x).detach())
    torch.testing.assert_close(each.logsumexp(1), total)


def test_draws_come_from_their_parts_in_their_shares(law):
    x, part = law.sample(20_000)
    count = torch.bincount(part, minlength=3) / 20_000
    assert float((count - law.log_share.exp()).abs().max()) < 1e-4
    white = law.white(x)[part, torch.arange(len(x))]
    spread = white.square().mean(0) * (FREEDOM - 2) / FREEDOM  # a t law's variance
    torch.testing.assert_close(spread, torch.ones(2), rtol=0.1, atol=0.0)


def test_units_of_priors():
    draws = torch.stack([1e6 + 3 * torch.randn(4000), torch.full((4000,), 5.0)], 1)
    center, scale = prior_units(draws)
    assert float(center[0]) == pytest.approx(1e6, abs=0.3)
    assert float(scale[0]) == pytest.approx(3.0, rel=0.05)
    assert center[1] == scale[1] == 5.0  # all alike: the unit is the value itself


def test_the_last_part_gets_the_share_that_weights_ask_for(law):
    """The target has another share of the last part; draws without density weigh nothing."""
    others = torch.log_softmax(law.log_share[:-1], 0) + math.log(0.7)
    target = replace(law, log_share=torch.cat([others, torch.tensor([math.log(0.3)])]))
    x, _ = law.sample(20_000)
    value = target.log_prob(x)
    assert float(law.weighed(x, value, value).log_share[-1].exp()) == pytest.approx(0.3, abs=0.02)
    value[:100] = torch.nan
    value[100:200] = torch.inf
    assert float(law.weighed(x, value, value).log_share[-1].exp()) == pytest.approx(0.3, abs=0.02)
    nowhere = torch.full_like(value, -torch.inf)
    assert law.weighed(x, nowhere, nowhere) is law
