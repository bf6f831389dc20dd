"""What every solver keeps to: the loss falls, rho has a floor, settings are checked."""

import pytest
import torch

from lse_vi import LSEICNN, Adam, LevenbergMarquardt
from lse_vi.potentials.targets import as_targets

SOLVERS = [LevenbergMarquardt(steps=30), Adam(steps=600, learning_rate=0.02)]


def problem(pot, n=40):
    x = torch.linspace(-2, 2, n).unsqueeze(-1)
    return as_targets(pot, x, x[:, 0].abs() ** 3, 3 * x * x.abs(), 1.0, 1.0)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_the_loss_falls_for_every_member(solver):
    one, pot = LSEICNN(1, 2, hidden=(4,)), LSEICNN(1, 2, hidden=(4,), batch_shape=(3,))
    run = solver.begin(pot, problem(one))
    losses = torch.stack([run.step() for _ in range(solver.steps)])
    assert losses.shape == (solver.steps, 3)
    assert bool((losses[-1] < 0.05 * losses[0]).all())


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_rho_stays_above_its_floor(solver):
    one, pot = LSEICNN(1, 2, hidden=(4,)), LSEICNN(1, 2, hidden=(4,), batch_shape=(2,))
    run = solver.begin(pot, problem(one), min_rho=1.5)
    for _ in range(solver.steps):
        run.step()
    assert bool((pot.rho >= 1.5 - 1e-12).all())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LevenbergMarquardt(steps=0), "steps"),
        (lambda: LevenbergMarquardt(damping=0.0), "damping"),
        (lambda: Adam(learning_rate=-1.0), "learning_rate"),
        (lambda: Adam(gate_penalty=-1.0), "gate_penalty"),
        (lambda: Adam(check_every=0), "check_every"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
