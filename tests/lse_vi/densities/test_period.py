"""Fits of angles: modes at the seam, any origin, beside a linear coordinate, under weights."""

import math

import numpy as np
import pytest
import torch

from lse_vi import ICNN, fit_density

QUICK = {"progress": False, "restarts": 2, "modes": 3, "polish": 100}
TURN = 2 * math.pi


def angles(n=300):
    torch.manual_seed(0)
    laws = [torch.distributions.VonMises(at, 12.0) for at in (math.pi, 0.6)]
    return torch.cat([laws[0].sample((n,)), laws[1].sample((n // 2,))])


def test_a_mode_at_the_seam_is_one_and_the_origin_says_nothing():
    x = angles()
    res, turned = (fit_density(a, period=TURN, **QUICK) for a in (x, x + 1.234))
    assert int(res.active_modes) == int(res.peaks) == 2
    order = res.mode_weights.argsort(descending=True)
    assert math.cos(float(res.mode_locations[order[0]]) - math.pi) > 0.999
    grid = torch.linspace(-3, 3, 50).unsqueeze(-1)
    torch.testing.assert_close(
        turned.density.log_prob(grid + 1.234), res.density.log_prob(grid), atol=1e-8, rtol=1e-8
    )
    ticks = (torch.arange(500) / 500 * TURN).unsqueeze(-1)
    total = float(res.density.log_prob(ticks).exp().mean()) * TURN
    assert total == pytest.approx(1.0, abs=1e-8)


def test_degrees_beside_a_linear_coordinate():
    """Heights that differ by the angle: a mode of each, in the units of the data."""
    x = angles(200)
    height = torch.where((x - 0.6).cos() > 0.3, 5.0, -5.0) + torch.randn(len(x))
    both = torch.stack([x * 360 / TURN % 360, height], 1)
    res = fit_density(both, period=(360, None), steps=30, **{**QUICK, "polish": 0, "modes": 2})
    assert int(res.active_modes) == 2
    order = res.mode_weights.argsort(descending=True)
    degrees = res.mode_locations[order, 0]
    assert math.cos(math.radians(float(degrees[0]) - 180)) > 0.995
    assert math.cos(math.radians(float(degrees[1])) - 0.6) > 0.995
    assert res.mode_locations[order, 1].round().tolist() == pytest.approx([-5, 5], abs=1)


def test_a_line_search_that_tries_a_mode_of_a_hundred_periods_does_not_end_the_fit():
    rng = np.random.default_rng(0)
    a = np.concatenate([rng.normal(5, 15, 120), rng.normal(180, 20, 80)]) % 360
    res = fit_density(a, period=360, modes=3, progress=False)
    assert int(res.active_modes) == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_angles_without_a_direction_are_uniform(seed):
    torch.manual_seed(seed)
    res = fit_density(360 * torch.rand(400), period=360, modes=2, progress=False)
    grid = torch.linspace(0, 360, 100).unsqueeze(-1)
    # Total variation from uniform: of 400 points, the first harmonic alone has 0.04 on average.
    assert float((res.density.log_prob(grid).exp() * 360 - 1).abs().mean()) / 2 < 0.12


@pytest.mark.slow
@pytest.mark.parametrize("period", [(TURN, None), (TURN, TURN)])
def test_the_origin_says_nothing_of_a_descent_in_two_dimensions_either(period):
    """To 1e-8, far from the end of a fit, where rounding errors grow."""
    x = torch.stack([angles(60), angles(60).flip(0) / 3], 1)
    origin = torch.tensor([1.234, 0.0 if period[1] is None else -0.7])
    few = {"progress": False, "restarts": 1, "modes": 2, "polish": 10, "period": period}
    one, other = (fit_density(points, **few) for points in (x, x + origin))
    torch.testing.assert_close(
        other.density.log_prob(x + origin), one.density.log_prob(x), atol=1e-8, rtol=1e-8
    )


@pytest.mark.parametrize(
    "other", [{"bounds": (-4, 4)}, {"background": True}, {"learn_rho": True}, {"network": ICNN}]
)
def test_what_a_circle_has_not_is_refused(other):
    with pytest.raises(ValueError, match="period"):
        fit_density(angles(20), period=TURN, **QUICK, **other)
