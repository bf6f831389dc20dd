"""The fit learns a material, resumes where it was interrupted, and refuses what it cannot fit."""

import sys

import pytest
import torch

from lse_vi import (
    LSEICNN,
    Elastic,
    Isotropic,
    Memory,
    NonFiniteLossError,
    Play,
    fit_memory,
    polish_memory,
)
from lse_vi.materials.rates import RelaxationRate
from lse_vi.materials.steppers import Exponential

STEPS = 110
module = sys.modules["lse_vi.materials.training"]


def paths(n=12, times=15):
    """Uniaxial ramps there and back."""
    wave = torch.linspace(0, 2, times)
    wave = torch.minimum(wave, 2 - wave)
    e = torch.zeros(n, times, 3, 3)
    e[..., 0, 0] = -torch.linspace(0.3, 1.5, n).unsqueeze(-1) * wave
    return e


def build(kind):
    torch.manual_seed(3)
    invariants = Isotropic()
    if kind == "elastic":
        return Elastic(LSEICNN(3, 2, hidden=(6,)), invariants)
    if kind == "play":
        return Play(LSEICNN(3, 2, hidden=(6,)), invariants).start(paths())
    rate = RelaxationRate(3, 2, hidden=(6,))
    return Memory(LSEICNN(5, 2, hidden=(6,)), invariants, rate, stepper=Exponential())


def fit(model, **options):
    strain = paths()
    options = {"steps": STEPS, "batch": 5, "progress": False, **options}
    return fit_memory(model, strain, 2 * strain, **options)


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_material_is_learned(seed):
    torch.manual_seed(seed)
    model = Elastic(LSEICNN(3, 2, hidden=(8,)), Isotropic())
    result = fit(model, steps=600, seed=seed)
    assert result.model is model
    assert result.history["loss"][-1] < 0.01 * result.history["loss"][0]
    assert result.history["step"][-1] == 600


@pytest.mark.parametrize("kind", ["elastic", "memory", "play"])
def test_an_interrupted_fit_ends_where_an_uninterrupted_one_does(kind, tmp_path, monkeypatch):
    whole = fit(build(kind))
    file, select, calls = tmp_path / "fit.pt", module.select, []

    def interrupted(prepared, which):
        calls.append(which)
        if len(calls) == 70:
            raise KeyboardInterrupt
        return select(prepared, which)

    monkeypatch.setattr(module, "select", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(build(kind), checkpoint=file)
    monkeypatch.setattr(module, "select", select)
    resumed = fit(build(kind), checkpoint=file)
    assert resumed.history == whole.history
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="another fit"):
        fit(build(kind), checkpoint=file, learning_rate=0.01)


def test_after_ctrl_c_the_same_call_goes_on(tmp_path, monkeypatch):
    """With the very model that was interrupted, not a fresh one like it."""
    whole = fit(build("play"))
    file, select, calls = tmp_path / "fit.pt", module.select, []

    def interrupted(prepared, which):
        calls.append(which)
        if len(calls) == 70:
            raise KeyboardInterrupt
        return select(prepared, which)

    model = build("play")
    monkeypatch.setattr(module, "select", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(model, checkpoint=file)
    resumed = fit(model, checkpoint=file)
    assert len(calls) < 70 + STEPS
    assert resumed.history == whole.history
    for ours, theirs in zip(model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_rise_of_one_step_is_none():
    """A fifth of five steps is one, by which torch's schedule divides less one."""
    for steps in (4, 5, 6):
        assert fit(build("elastic"), steps=steps).history["step"] == [steps]


def test_the_random_state_is_left_alone():
    model = build("elastic")
    state = torch.get_rng_state()
    fit(model, steps=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_stress_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="stress must have the shape of strain"):
        fit_memory(build("elastic"), paths(), paths()[:, 1:], progress=False)


@pytest.mark.parametrize("fit", [fit_memory, polish_memory])
@pytest.mark.parametrize(
    ("strain", "came"),
    [
        (paths()[0], r"\(15, 3, 3\)"),
        (paths().reshape(3, 4, 15, 3, 3), r"\(3, 4, 15, 3, 3\)"),
        (paths()[:0], r"\(0, 15, 3, 3\)"),
    ],
)
def test_paths_of_another_shape_are_refused(fit, strain, came):
    message = rf"strain must have shape \(paths, times, 3, 3\) .* but got {came}"
    with pytest.raises(ValueError, match=message):
        fit(build("elastic"), strain, strain, progress=False)


@pytest.mark.parametrize("fit", [fit_memory, polish_memory])
def test_paths_that_are_no_tensors_are_refused(fit):
    with pytest.raises(TypeError, match="strain must be a tensor, but got list"):
        fit(build("elastic"), paths().tolist(), paths(), progress=False)
    with pytest.raises(TypeError, match="stress must be a tensor, but got ndarray"):
        fit(build("elastic"), paths(), paths().numpy(), progress=False)


def test_a_loss_that_is_not_finite_is_an_error():
    model = build("elastic")
    with torch.no_grad():
        model.potential.alpha.fill_(float("nan"))
    with pytest.raises(NonFiniteLossError, match="step 0"):
        fit(model)
    with pytest.raises(NonFiniteLossError, match="step 0"):
        polish_memory(model, paths(), paths(), progress=False)
