"""The first stage of a density's fit, by Adam: how long it lasts and what it keeps."""

from types import SimpleNamespace

import pyro.distributions as dist
import pytest
import torch

import lse_vi.densities.fit as fit_module
from lse_vi import LSEDensity, NonFiniteLossError, fit_density
from lse_vi.densities import training
from lse_vi.densities.objective import judge
from lse_vi.densities.training_data import FitData

QUICK = {"steps": 150, "restarts": 1, "hidden": (4,), "progress": False}


def two_modes(n=200, shift=4.0):
    return torch.cat([torch.randn(n // 2) - shift, 0.5 * torch.randn(n - n // 2) + shift])


def held_out_loss(pot, points):
    """Nats per point, of a potential of standardised data."""
    with torch.no_grad():
        return -float(LSEDensity(pot).log_prob(points).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_state_that_is_kept_is_the_best_on_points_held_out(monkeypatch, seed):
    """20 points of noise, and steps that are far too large and too many for them.

    What was judged is recorded, and judged again afterwards with the density's own rule.
    """
    judged, split = [], []

    def watched_judge(pot, data, rule):
        judged.append(pot.select(0))
        return judge(pot, data, rule)

    def watched_split(*arguments):
        split.append(FitData.split(*arguments))
        return split[0]

    monkeypatch.setattr(training, "judge", watched_judge)
    monkeypatch.setattr(fit_module, "FitData", SimpleNamespace(split=watched_split))
    x = dist.StudentT(2.0).sample((40,))
    options = {"held_out": 0.5, "steps": 1000, "restarts": 1, "learning_rate": 0.3, "polish": 0}
    fit = fit_density(x, modes=1, seed=seed, progress=False, **options)
    losses = [held_out_loss(pot, split[0].test) for pot in judged]
    at = split[0].points.moments
    kept = -float(fit.density.log_prob(split[0].test * at.deviation + at.mean).mean())
    kept -= float(at.deviation.log())  # nats of standardised points
    assert fit.history["step"][-1] < 1000  # stopped early, ...
    assert losses[-1] > min(losses) + 0.01  # ... at a state that is not the best
    assert kept == pytest.approx(min(losses), abs=1e-3)  # the fit's rule errs by 1e-4


def test_a_loss_that_is_not_finite_stops_with_the_last_good_state():
    with pytest.raises(NonFiniteLossError, match="at step") as caught:
        fit_density(two_modes(), modes=1, **{**QUICK, "learning_rate": 1e6})
    state = caught.value.potential.state_dict()
    assert all(torch.isfinite(p).all() for p in state.values())


@pytest.mark.parametrize("steps", [9, 10, 11])
def test_a_rise_of_one_step_is_none(steps):
    fit = fit_density(torch.randn(50), modes=1, steps=steps, polish=0, progress=False)
    assert fit.history["step"] == [0, steps]
