"""Supports with an open side: truncated normal laws are exact, and nothing lies beyond the wall."""

import math

import pytest
import torch
from scipy.stats import kstest, truncnorm
from torch.distributions import biject_to

from lse_vi import ICNN, LSEICNN, LSEDensity, MomentMixture, WhitenedICNN


def normal(at, width, **options):
    """One Gaussian mode; hidden=() leaves it so."""
    dim = len(at)
    pot = LSEICNN(dim, 1, hidden=(), rho=1.0, network=WhitenedICNN, **options)
    pot.network.reset_parameters(torch.tensor([at]), torch.eye(dim)[None] / width)
    return pot.requires_grad_(False)


@pytest.mark.parametrize(("at", "bounds"), [(1.0, (0, None)), (-30.0, (0, None)), (3.0, (None, 2))])
def test_a_gaussian_behind_a_wall_is_a_truncated_normal_law(at, bounds):
    """At -30 with width 4 the law is the exponential tail of a mode far outside."""
    q = LSEDensity(normal([at], 4.0), bounds)
    low, high = (
        (b - at) / 4 if b is not None else s
        for b, s in zip(bounds, (-math.inf, math.inf), strict=True)
    )
    law = truncnorm(low, high, loc=at, scale=4.0)
    x = torch.tensor(law.ppf([1e-6, 0.1, 0.5, 0.9, 1 - 1e-6]))
    exact = torch.tensor(law.logpdf(x))
    torch.testing.assert_close(q.log_prob(x.unsqueeze(-1)), exact, atol=1e-6, rtol=1e-6)
    assert float(q.mean) == pytest.approx(law.mean(), abs=1e-5)
    assert float(q.variance) == pytest.approx(law.var(), rel=1e-5)
    assert kstest(q.sample((1000,)).flatten().numpy(), law.cdf).pvalue > 0.001
    wall = torch.tensor([[b] for b in bounds if b is not None])
    beyond = wall + torch.tensor([[-1e-9 if bounds[0] is not None else 1e-9]])
    unchecked = LSEDensity(normal([at], 4.0), bounds, validate_args=False)
    assert float(unchecked.log_prob(beyond)) == -math.inf


@pytest.mark.parametrize("dim", [2, 3])
def test_coordinates_are_open_each_for_itself(dim):
    """Independent laws: the density is the product of those of the coordinates."""
    at = [-1.0, 0.5, 2.0][:dim]
    bounds = ([0.0, None, None][:dim], [None, None, 2.5][:dim])
    method = MomentMixture(20_000) if dim == 3 else None
    q = LSEDensity(normal(at, 1.0), bounds, method=method)
    x = q.sample((4000,))
    assert bool((x[:, 0] >= 0).all())
    assert q.support.check(x).all()
    assert not q.support.check(-x).all()
    ones = [
        LSEDensity(normal([at[i]], 1.0), None if i == 1 else ((bounds[0][i],), (bounds[1][i],)))
        for i in range(dim)
    ]
    product = sum(one.log_prob(x[:, i : i + 1]) for i, one in enumerate(ones))
    error = float(q.log_normalizer_error)
    torch.testing.assert_close(q.log_prob(x), product, atol=5 * error + 1e-6, rtol=0)
    mean = torch.cat([one.mean for one in ones])
    torch.testing.assert_close(x.mean(0), mean, atol=4.5 / math.sqrt(4000), rtol=0)


def test_a_batch_and_the_gradient_of_log_z():
    """d log Z / d m of a Gaussian at m behind a wall at 0 is the law's score, (E[x] - m) / w^2."""
    pot = LSEICNN(1, 1, hidden=(), rho=1.0, network=WhitenedICNN, batch_shape=(2,))
    pot.network.reset_parameters(torch.tensor([[[-1.0]], [[2.0]]]))
    q = LSEDensity(pot, (0, None))
    (slope,) = torch.autograd.grad(q.log_normalizer.sum(), pot.network.loc)
    expected = q.mean.detach().squeeze(-1) - torch.tensor([-1.0, 2.0])
    torch.testing.assert_close(slope.flatten(), expected, atol=1e-6, rtol=1e-6)


def test_the_support_maps_to_all_of_space_as_guides_and_nuts_need():
    q = LSEDensity(normal([1.0], 1.0), (0, None))
    z = torch.randn(5, 1)
    x = biject_to(q.support)(z)
    assert bool((x > 0).all())
    torch.testing.assert_close(biject_to(q.support).inv(x), z)


def test_plain_modes_and_no_wall_at_all_are_refused():
    with pytest.raises(ValueError, match="bounds with an open side: expected strongly convex"):
        LSEDensity(LSEICNN(1, 2, network=ICNN), (0, None))
    with pytest.raises(ValueError, match="bounds must have a finite side"):
        LSEDensity(normal([0.0], 1.0), (None, None))
