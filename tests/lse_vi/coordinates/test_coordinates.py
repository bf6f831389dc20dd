"""The coordinates of a Bayesian density mean what they say, whatever the shape of its modes."""

import math

import pytest
import torch

from lse_vi import LSEDensity
from lse_vi.coordinates.coordinates import ModeCoordinates
from lse_vi.coordinates.prior import Prior

SHIFT, SCALE = torch.tensor([5.0, -1.0, 0.3]).double(), torch.tensor([10.0, 0.2, 1.0]).double()


def coordinates(dim, hidden, modes=2):
    return ModeCoordinates(SHIFT[:dim], SCALE[:dim], modes=modes, hidden=hidden)


def draws(at, count, spread=1.0):
    return at.prior_mean + spread * at.prior_sd * torch.randn(count, at.size)


@pytest.mark.parametrize("hidden", [(), (2,), (5,), (3, 2)])
@pytest.mark.parametrize("dim", [1, 2])
def test_density_is_normalised_with_the_masses_asked_for(dim, hidden):
    at = coordinates(dim, hidden)
    theta = draws(at, 8, spread=1.0 if dim == 1 else 0.5)
    q = LSEDensity(at.potential(theta))
    tolerance = 1e-5 if dim == 1 else 3e-3
    torch.testing.assert_close(q.log_normalizer, torch.zeros(8), atol=tolerance, rtol=0)
    torch.testing.assert_close(q.mode_weights, at.masses(theta), atol=tolerance, rtol=0)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_means_and_covariances_of_the_modes_are_the_coordinates(dim):
    """One mode: exact samples have its mean, and its precision factor whitens them.

    Every mean and product of two coordinates is compared in units of its standard error, 0.007 to
    0.02 from 20,000 draws: of 4 x 9 normal deviates the largest is below 4.5.
    """
    at = coordinates(dim, (2 * dim,), modes=1)
    theta = draws(at, 4, spread=0.5)
    x = LSEDensity(at.potential(theta)).sample((20_000,))  # (n, 4, dim)
    parts = at.split(theta)
    mean = SHIFT[:dim] + SCALE[:dim] * parts["mean"][:, 0]
    factor = at._precision_factor(parts)[:, 0]  # (4, dim, dim)
    white = ((x - mean).unsqueeze(-2) @ factor.mT).squeeze(-2)
    products = white.unsqueeze(-1) * white.unsqueeze(-2)
    for values, expected in ((white, torch.zeros(dim)), (products, torch.eye(dim))):
        error = values.std(0) / 20_000**0.5
        assert error.max() < 0.03
        assert ((values.mean(0) - expected) / error).abs().max() < 4.5


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("hidden", [(), (2,), (3, 2)])
def test_the_direct_log_density_is_that_of_the_potential(dim, hidden):
    at = coordinates(dim, hidden, modes=3)
    theta = draws(at, 6).reshape(2, 3, -1)
    x = SHIFT[:dim] + SCALE[:dim] * torch.randn(7, dim)
    direct = at.log_density(theta, x)
    assert direct.shape == (2, 3, 7)
    expected = -at.potential(theta)(x.reshape(7, 1, 1, dim)).movedim(0, -1)
    torch.testing.assert_close(direct, expected)


def test_modes_are_convex_below_their_gaussian_and_peak_at_the_frame_centre():
    at = coordinates(2, (4,), modes=1)
    pot = at.potential(draws(at, 50))
    loc = pot.network.loc.squeeze(-2)
    assert pot.gradient(loc).abs().max() < 1e-8
    u = torch.randn(50, 2)
    x = loc + torch.linalg.solve(pot.network.precision_factor()[:, 0], u.unsqueeze(-1)).squeeze(-1)
    rise = pot(x) - pot(loc)
    assert (rise >= 0.5 * u.square().sum(-1) - 1e-9).all()


@pytest.mark.parametrize("dim", [1, 2])
def test_the_nodes_resolve_even_the_sharpest_shapes(dim):
    """Slopes far out in the prior's tail: log Z stays zero, or a mode would look far too likely."""
    at = coordinates(dim, (2 * dim,), modes=1)
    parts = at.split(draws(at, 20))
    parts["slope"] = torch.full_like(parts["slope"], 9.0)
    parts["bend"] = 0.3 * torch.rand_like(parts["bend"])
    q = LSEDensity(at.potential(at.join(parts)))
    torch.testing.assert_close(q.log_normalizer, torch.zeros(20), atol=0.03, rtol=0)


def test_relabelling_the_modes_changes_nothing():
    at = coordinates(1, (2,), modes=3)
    theta = draws(at, 5)
    swapped = theta.unflatten(-1, (3, -1))[:, [2, 0, 1]].flatten(-2)
    x = torch.linspace(-30, 30, 11).unsqueeze(-1)
    torch.testing.assert_close(at.log_density(theta, x), at.log_density(swapped, x))


def test_split_and_join_are_inverse():
    at = coordinates(3, (6, 2), modes=2)
    theta = draws(at, 4)
    torch.testing.assert_close(at.join(at.split(theta)), theta)


def test_gradient_against_finite_differences():
    at = coordinates(2, (4,), modes=2)
    theta = draws(at, 1, spread=0.5)[0].requires_grad_()
    x = SHIFT[:2] + SCALE[:2] * torch.randn(3, 2)
    assert torch.autograd.gradcheck(lambda t: at.log_density(t, x), theta)


def test_prior_can_be_replaced():
    at = ModeCoordinates(torch.zeros(1), torch.ones(1), modes=2, prior=Prior(mean=(3.0, 0.1)))
    parts = at.split(at.prior_mean)
    torch.testing.assert_close(parts["mean"], torch.full((2, 1), 3.0))


@pytest.mark.parametrize(
    "pair",
    [(0, -1.5), (0.0, 0.0), (math.nan, 1.0), (0.0, math.inf), (1.0,), 1.0, ("a", 1.0)],
    ids=str,
)
def test_a_prior_that_is_none_is_refused_by_name(pair):
    with pytest.raises(ValueError, match="prior: mass must be a mean and a standard deviation > 0"):
        ModeCoordinates(torch.zeros(1), torch.ones(1), modes=2, prior=Prior(mass=pair))
    with pytest.raises(TypeError, match="prior must be a Prior, but got dict"):
        ModeCoordinates(torch.zeros(1), torch.ones(1), modes=2, prior={"mass": (0.0, 1.0)})


@pytest.mark.parametrize("hidden", [(), (2,), (3, 2)])
@pytest.mark.parametrize("bounds", [(0, None), (None, 2), (-1, 8), (5, 5.2), (-900, 900)])
def test_density_on_an_interval_is_normalised_with_the_masses_asked_for(bounds, hidden):
    """Modes may peak far outside, and have steep sides, as those of the prior do."""
    at = ModeCoordinates(SHIFT[:1], SCALE[:1], modes=2, hidden=hidden, bounds=bounds)
    theta = draws(at, 100)
    q = LSEDensity(at.potential(theta), bounds)
    torch.testing.assert_close(q.log_normalizer, torch.zeros(100), atol=1e-4, rtol=0)
    torch.testing.assert_close(q.mode_weights, at.masses(theta), atol=1e-4, rtol=0)
    low, high = at.box.low.clamp_min(-30), at.box.high.clamp_max(30)
    x = low + (high - low) * torch.rand(3, 1)
    one = theta[0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: at.log_density(t, x), one)


def test_a_mode_far_behind_a_wall_leaves_an_exponential():
    """Forty deviations behind it the slope of the log density is 40 per deviation, and stays so."""
    at = ModeCoordinates(torch.zeros(1), torch.ones(1), modes=1, hidden=(), bounds=(0, None))
    theta = at.join({**at.split(at.prior_mean), "mean": torch.full((1, 1), -40.0)} | {
        "log_scale": torch.zeros(1, 1)
    })  # fmt: skip
    x = torch.tensor([[0.0], [0.01], [0.02]])
    log_q = at.log_density(theta, x)
    assert float(log_q[0]) == pytest.approx(math.log(40), abs=1e-3)
    assert (log_q.diff() / 0.01 + 40).abs().max() < 0.1
