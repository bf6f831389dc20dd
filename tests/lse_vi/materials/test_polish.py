"""A polish goes on where a fit ends."""

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
def test_a_polish_goes_further_than_the_fit(seed):
    torch.manual_seed(seed)
    model = Elastic(LSEICNN(3, 2, hidden=(8,)), Isotropic())
    rough = fit(model, steps=300, seed=seed).history["loss"][-1]
    strain = paths()
    result = polish_memory(model, strain, 2 * strain, steps=120, progress=False)
    assert result.model is model
    assert result.history["step"] == [50, 100, 120]
    assert result.history["loss"][-1] < 0.1 * rough
    loss = (model(strain).stress - 2 * strain).square().mean()
    assert float(loss.detach()) == pytest.approx(result.history["loss"][-1], rel=1e-6)


def test_an_interrupted_polish_ends_where_an_uninterrupted_one_does(tmp_path, monkeypatch):
    def polish(model, **options):
        strain = paths()
        return polish_memory(model, strain, 2 * strain, steps=110, progress=False, **options)

    whole = polish(build("memory"))
    file, step, calls = tmp_path / "fit.pt", torch.optim.LBFGS.step, []

    def interrupted(optimiser, closure):
        calls.append(optimiser)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return step(optimiser, closure)

    monkeypatch.setattr(torch.optim.LBFGS, "step", interrupted)
    given = build("memory")
    with pytest.raises(KeyboardInterrupt):
        polish(given, checkpoint=file)
    monkeypatch.setattr(torch.optim.LBFGS, "step", step)
    resumed = polish(given, checkpoint=file)  # Ctrl-C has left it as it was given
    assert resumed.history == whole.history
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(monkeypatch):
    """The first round is good, the second one ruins the parameters."""
    strain, good = paths(), build("elastic")
    polish_memory(good, strain, 2 * strain, steps=50, progress=False)
    step, calls = torch.optim.LBFGS.step, []

    def ruined(optimiser, closure):
        calls.append(optimiser)
        value = step(optimiser, closure)
        if len(calls) == 2:
            with torch.no_grad():
                optimiser.param_groups[0]["params"][0].fill_(torch.nan)
        return value

    monkeypatch.setattr(torch.optim.LBFGS, "step", ruined)
    model = build("elastic")
    with pytest.raises(NonFiniteLossError, match="at step 50") as caught:
        polish_memory(model, strain, 2 * strain, steps=100, progress=False)
    assert caught.value.potential is model.potential
    for ours, theirs in zip(model.parameters(), good.parameters(), strict=True):
        assert torch.equal(ours, theirs)
