"""The first stage of a density's fit, by Adam: how long it lasts and what it keeps."""

import pytest
import torch

from lse_vi import NonFiniteLossError, fit_density

QUICK = {"steps": 150, "restarts": 1, "hidden": (4,), "progress": False}


def two_modes(n=200, shift=4.0):
    return torch.cat([torch.randn(n // 2) - shift, 0.5 * torch.randn(n - n // 2) + shift])


def test_early_stopping_keeps_the_best_held_out_state():
    """Few points and a fit far too long for them: the state is that of the best check."""
    x = torch.randn(40)
    res = fit_density(
        x, modes=1, held_out=0.5, steps=1000, restarts=1, learning_rate=0.3, progress=False
    )
    held_out = res.history["held_out"]
    assert res.history["step"][-1] < 1000  # stopped
    with torch.random.fork_rng():
        torch.manual_seed(0)
        test = torch.randperm(40)[:20]
    score = -res.density.log_prob(x[test].unsqueeze(-1)).mean() + x.std().log().neg()
    torch.testing.assert_close(score, torch.tensor(min(held_out)), atol=1e-3, rtol=0)


def test_a_loss_that_is_not_finite_stops_with_the_last_good_state():
    with pytest.raises(NonFiniteLossError, match="at step") as caught:
        fit_density(two_modes(), modes=1, **{**QUICK, "learning_rate": 1e6})
    state = caught.value.potential.state_dict()
    assert all(torch.isfinite(p).all() for p in state.values())


@pytest.mark.parametrize("steps", [9, 10, 11])
def test_a_rise_of_one_step_is_none(steps):
    fit = fit_density(torch.randn(50), modes=1, steps=steps, polish=0, progress=False)
    assert fit.history["step"] == [steps]
