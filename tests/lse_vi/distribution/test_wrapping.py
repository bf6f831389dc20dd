"""Densities on a circle: normalised over a period, sampled exactly, wherever the origin is."""

import math

import pytest
import torch
from scipy.stats import kstest

from lse_vi import LSEICNN, LSEDensity, MomentMixture, WhitenedICNN
from lse_vi.distribution.wrapping import mode_moments

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


@pytest.mark.parametrize("origin", [0.0, 1.0, math.pi, -2.5])
def test_means_and_variances_are_those_of_the_circle(origin):
    """Of two modes beside the seam: by sums over the circle, and the same from any origin."""
    pot = LSEICNN(1, 2, rho=1.0, hidden=(), network=WhitenedICNN, period=TURN)
    at = torch.tensor([[math.pi - 0.3], [-math.pi + 0.2]]) + origin
    pot.network.reset_parameters(at, torch.tensor([3.0, 6.0]).reshape(2, 1, 1))
    q = LSEDensity(pot.requires_grad_(False))
    x = torch.arange(4000) / 4000 * TURN
    mass = q.log_prob(x.unsqueeze(-1)).exp() * (TURN / 4000)
    mean = math.atan2(float((mass * x.sin()).sum()), float((mass * x.cos()).sum()))
    assert math.cos(float(q.mean) - mean) == pytest.approx(1.0, abs=1e-12)
    gaps = torch.remainder(x - mean + math.pi, TURN) - math.pi
    assert float(q.variance) == pytest.approx(float((mass * gaps**2).sum()), rel=1e-6)
    _, means, deviations = mode_moments(q.potential, q.rule)
    # Of a wrapped normal law, whose mean is its centre and whose deviation hardly differs.
    assert float(((means - at) / 2).sin().abs().max()) < 0.01
    assert deviations.flatten().tolist() == pytest.approx([1 / 3, 1 / 6], rel=0.1)


def test_a_mode_far_wider_than_the_period_says_so():
    pot = LSEICNN(2, 1, rho=1.0, hidden=(), network=WhitenedICNN, period=(1.0, None))
    pot.network.reset_parameters(torch.zeros(1, 2), torch.tensor([[1e-3, 0.0], [0.0, 1e-9]])[None])
    with pytest.raises(ValueError, match=r"period: the widest mode is 1e\+03 periods wide"):
        pot(torch.zeros(1, 2))


def test_bounds_and_other_sharpness_are_refused():
    with pytest.raises(ValueError, match="bounds: a density that is periodic"):
        LSEDensity(circular(), bounds=(-1, 1))
    pot = LSEICNN(1, 2, rho=2.0, network=WhitenedICNN, period=TURN)
    with pytest.raises(ValueError, match="needs rho = 1"):
        LSEDensity(pot)
