"""A fit that was interrupted ends as one that was not."""

from functools import cache

import pytest
import torch

import lse_vi.densities.objective
from lse_vi import fit_density

QUICK = {"modes": 2, "steps": 120, "restarts": 2, "hidden": (4,), "progress": False}
Y = torch.linspace(-6.0, 6.0, 50, dtype=torch.float64).unsqueeze(-1)


def two_modes(n=60):
    return torch.cat([torch.randn(n) - 4, torch.randn(n) + 4])


@cache
def uninterrupted(bounds=None):
    """Every test begins with the same random state, so its data are these."""
    torch.manual_seed(0)
    return fit_density(two_modes(), bounds=bounds, **QUICK)


def interrupt_at(monkeypatch, call):
    """Ctrl-C at the given evaluation of the objective."""
    log_prior, calls = lse_vi.densities.objective.log_prior, []

    def interrupted(pot, **options):
        calls.append(pot.modes)
        if len(calls) == call:
            raise KeyboardInterrupt
        return log_prior(pot, **options)

    monkeypatch.setattr(lse_vi.densities.objective, "log_prior", interrupted)


# 121 evaluations for each number of modes: in the first fit, as the second starts, within it.
@pytest.mark.parametrize("call", [75, 122, pytest.param(190, marks=pytest.mark.slow)])
@pytest.mark.parametrize("bounds", [None, (-9.0, 9.0)])
def test_an_interrupted_fit_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, call, bounds):
    x, file = two_modes(), tmp_path / "fit.pt"
    whole = uninterrupted(bounds)
    with monkeypatch.context() as patch:
        interrupt_at(patch, call)
        with pytest.raises(KeyboardInterrupt):
            fit_density(x, bounds=bounds, checkpoint=file, **QUICK)
    resumed = fit_density(x, bounds=bounds, checkpoint=file, **QUICK)
    assert torch.equal(whole.density.log_prob(Y), resumed.density.log_prob(Y))
    assert str(whole) == str(resumed)
    assert whole.history["loss"] == resumed.history["loss"]


def test_random_rules_resume_too(tmp_path, monkeypatch):
    x, file = two_modes(), tmp_path / "fit.pt"
    quick = {**QUICK, "method": lse_vi.LaplaceMixture(samples=64)}
    whole = fit_density(x, **quick)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 190)
        with pytest.raises(KeyboardInterrupt):
            fit_density(x, checkpoint=file, **quick)
    resumed = fit_density(x, checkpoint=file, **quick)
    state = resumed.density.potential.state_dict()
    for name, p in whole.density.potential.state_dict().items():
        assert torch.equal(p, state[name]), name


def test_a_finished_fit_is_read_back(tmp_path, monkeypatch):
    x, file = two_modes(), tmp_path / "fit.pt"
    whole = fit_density(x, checkpoint=file, **QUICK)
    interrupt_at(monkeypatch, 1)  # nothing is left to train
    again = fit_density(x, checkpoint=file, **QUICK)
    assert torch.equal(whole.density.log_prob(Y), again.density.log_prob(Y))


@pytest.mark.parametrize(
    ("change", "what"),
    [({"x": 1.0}, "x"), ({"modes": 3}, "settings"), ({"seed": 1}, "schedule")],
)
def test_a_checkpoint_of_another_fit_is_refused(tmp_path, monkeypatch, change, what):
    x, file = two_modes(), tmp_path / "fit.pt"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 60)
        with pytest.raises(KeyboardInterrupt):
            fit_density(x, checkpoint=file, **QUICK)
    shift, settings = change.get("x", 0.0), {k: v for k, v in change.items() if k != "x"}
    with pytest.raises(ValueError, match=rf"belongs to another fit \(different: {what}\)"):
        fit_density(x + shift, checkpoint=file, **{**QUICK, **settings})
