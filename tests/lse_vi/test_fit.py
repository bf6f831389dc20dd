"""fit_density: the right modes, the same result twice, no lost work, errors that help."""

import pytest
import torch

from lse_vi import NonFiniteLossError, fit_density

QUICK = {"steps": 150, "restarts": 1, "hidden": (4,), "progress": False}


def two_modes(n=200, shift=4.0):
    return torch.cat([torch.randn(n // 2) - shift, 0.5 * torch.randn(n - n // 2) + shift])


@pytest.mark.parametrize("bounds", [None, (-12.0, 12.0)])
def test_two_separate_modes_are_found(bounds):
    res = fit_density(two_modes(), bounds=bounds, modes=4, **QUICK)
    assert int(res.active_modes) == 2
    # the weights are binomial: standard error 0.035
    assert abs(float(res.mode_weights.max()) - 0.5) < 0.12
    assert "2 modes" in str(res)
    assert "weight" in str(res)


def test_one_mode_stays_one():
    assert int(fit_density(torch.randn(200), modes=3, **QUICK).active_modes) == 1


def test_a_batch_of_data_sets_is_fitted_at_once():
    x = torch.stack([two_modes(), torch.randn(200)], dim=1).unsqueeze(-1)
    res = fit_density(x, modes=3, bounds=(-12.0, 12.0), held_out=0.0, **QUICK)
    assert res.active_modes.tolist() == [2, 1]
    assert torch.isfinite(res.mode_locations[res.mode_weights > 1e-3]).all()
    assert res.density.sample((10,)).shape == (10, 2, 1)


def test_same_seed_same_bits_and_the_global_generator_is_left_alone():
    x = two_modes()
    before = torch.get_rng_state()
    first, second = (fit_density(x, modes=2, seed=3, **QUICK) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    y = torch.linspace(-6, 6, 50).unsqueeze(-1)
    assert torch.equal(first.density.log_prob(y), second.density.log_prob(y))


def test_a_loss_that_is_not_finite_stops_with_the_last_good_state():
    with pytest.raises(NonFiniteLossError, match="at step") as caught:
        fit_density(two_modes(), modes=1, **{**QUICK, "learning_rate": 1e6})
    state = caught.value.potential.state_dict()
    assert all(torch.isfinite(p).all() for p in state.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.empty(0)}, "x"),
        ({"x": torch.tensor([0.0, 1.0, float("nan"), 2.0, 3.0])}, "finite"),
        ({"x": torch.tensor([1.0, 2.0])}, "at least"),
        ({"x": torch.stack([torch.randn(50), torch.ones(50)], -1)}, r"constant in column \[1\]"),
        ({"x": torch.randn(50), "bounds": (0.0, 1.0)}, "outside"),
        ({"x": torch.randn(50), "bounds": (9.0, -9.0)}, "low < high"),
        ({"x": torch.randn(50), "modes": 0}, "modes"),
        ({"x": torch.randn(50), "held_out": 1.5}, "held_out"),
        ({"x": torch.randn(50), "learning_rate": -1.0}, "learning_rate"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_density(**{"progress": False, **arguments})
