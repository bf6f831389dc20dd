"""Densities on a circle: normalised over a period, sampled exactly, wherever the origin is."""

import math

import pytest
import torch
from scipy.stats import kstest

from lse_vi import LSEICNN, LSEDensity, MomentMixture, WhitenedICNN

TURN = 2 * math.pi


def circular(dim=1, period=TURN, **options):
    torch.manual_seed(3)
    pot = LSEICNN(dim, 2, rho=1.0, hidden=(3,), network=WhitenedICNN, period=period, **options)
    return pot.requires_grad_(False)


@pytest.mark.parametrize(("dim", "period"), [(1, TURN), (2, TURN), (2, (None, TURN))])
def test_it_integrates_to_one_over_a_period_from_any_origin(dim, period):
    q = LSEDensity(circular(dim, period))
    periods = [period] * dim if isinstance(period, float) else period
    circle = torch.arange(160) / 160 * TURN + 0.7  # the trapezoidal rule is exact on a circle
    line = torch.linspace(-15, 15, 700)
    x = torch.cartesian_prod(*(circle if p else line for p in periods)).reshape(-1, dim)
    cell = math.prod(TURN / 160 if p else 30 / 699 for p in periods)
    assert float(q.log_prob(x).exp().sum()) * cell == pytest.approx(1.0, abs=1e-8)


def test_draws_follow_the_density():
    q = LSEDensity(circular())
    x = q.sample((2000,)).flatten()
    assert bool(((x >= -math.pi) & (x < math.pi)).all())
    ticks = torch.linspace(-math.pi, math.pi, 4001)
    steps = q.log_prob(ticks.unsqueeze(-1)).exp()
    cdf = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(steps, ticks)])
    below = lambda v: torch.lerp(  # noqa: E731
        cdf[(i := torch.searchsorted(ticks, torch.as_tensor(v)).clamp(1, 4000)) - 1],
        cdf[i],
        (torch.as_tensor(v) - ticks[i - 1]) / (ticks[1] - ticks[0]),
    ).numpy()
    assert kstest(x.numpy(), below).pvalue > 0.001


def test_the_masses_and_the_gradient_of_log_z_are_those_of_the_line():
    pot = circular(batch_shape=(2,))
    wrapped, line = LSEDensity(pot), LSEDensity(pot.unwrapped())
    torch.testing.assert_close(wrapped.log_normalizer, line.log_normalizer)
    pot.requires_grad_()
    own, other = (
        torch.autograd.grad(q.log_normalizer.sum(), pot.network.icnn.bias)[0]
        for q in (wrapped, line)
    )
    torch.testing.assert_close(own, other, atol=1e-7, rtol=1e-6)


def test_many_dimensions_take_draws():
    q = LSEDensity(circular(3, (TURN, None, TURN)), method=MomentMixture(4096))
    x = q.sample((50,)) + torch.tensor([TURN, 0.0, -TURN])
    torch.testing.assert_close(q.log_prob(x), q.log_prob(x - torch.tensor([TURN, 0.0, 0.0])))


def test_bounds_and_other_sharpness_are_refused():
    with pytest.raises(ValueError, match="bounds: a density that is periodic"):
        LSEDensity(circular(), bounds=(-1, 1))
    pot = LSEICNN(1, 2, rho=2.0, network=WhitenedICNN, period=TURN)
    with pytest.raises(ValueError, match="needs rho = 1"):
        LSEDensity(pot)
