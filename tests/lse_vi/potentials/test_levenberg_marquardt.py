"""Solvers on problems whose answer is known, and the units in which they work."""

import pytest
import torch

from lse_vi import ICNN, LSEICNN, Adam, LevenbergMarquardt, WhitenedICNN
from lse_vi.potentials.scaling import scaling_of
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


def test_levenberg_marquardt_never_goes_up():
    one, pot = LSEICNN(1, 3, hidden=(4,)), LSEICNN(1, 3, hidden=(4,), batch_shape=(4,))
    run = LevenbergMarquardt().begin(pot, problem(one))
    losses = torch.stack([run.step() for _ in range(25)])
    assert bool((losses.diff(dim=0) <= 0).all())


@pytest.mark.parametrize("n", [5, 200])
def test_a_linear_problem_takes_a_few_steps(n):
    """An affine f in one mode is linear in its parameters, whichever system is the smaller."""
    one, pot = LSEICNN(1, 1, hidden=()), LSEICNN(1, 1, hidden=(), batch_shape=(1,))
    for p in (pot.alpha, pot.log_rho):
        p.requires_grad_(False)
    x = torch.linspace(-1, 1, n).unsqueeze(-1)
    run = LevenbergMarquardt(damping=1e-10).begin(
        pot, as_targets(one, x, 3 * x[:, 0] + 7, None, 1.0, 1.0)
    )
    for _ in range(3):
        run.step()
    assert float(run.step()) < 1e-12


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_rho_stays_above_its_floor(solver):
    one, pot = LSEICNN(1, 2, hidden=(4,)), LSEICNN(1, 2, hidden=(4,), batch_shape=(2,))
    run = solver.begin(pot, problem(one), min_rho=1.5)
    for _ in range(solver.steps):
        run.step()
    assert bool((pot.rho >= 1.5 - 1e-12).all())


def test_the_jacobian_is_that_of_finite_differences():
    torch.manual_seed(1)
    one, pot = LSEICNN(2, 2, hidden=(3,)), LSEICNN(2, 2, hidden=(3,), batch_shape=(2,))
    x = torch.randn(6, 2)
    targets = as_targets(one, x, torch.randn(6), torch.randn(6, 2), 2.0, [1.0, 3.0])
    run = LevenbergMarquardt().begin(pot, targets)
    from lse_vi.potentials.levenberg_marquardt import _at, _flatten

    theta = _flatten(pot)
    r, jacobian = run._linearise(theta)
    assert jacobian.shape == (2, 18, theta.shape[-1])
    direction = torch.randn_like(theta)
    with torch.no_grad():
        up, down = (
            targets.residuals(_at(pot, theta + s * direction)).movedim(-1, 0).flatten(0, 1).mT
            for s in (1e-6, -1e-6)
        )
    along = (jacobian @ direction.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(along, (up - down) / 2e-6, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(r.square().sum(-1), targets.loss(pot).detach())


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_units_there_and_back(random_potential, network, batch):
    """E(x) = offset + height E_std((x - shift) / scale), to rounding, and undone again."""
    pot = random_potential(0, 2, network=network, batch_shape=batch)
    x, y = 5 + 3 * torch.randn(30, *batch, 2), 7 + 40 * torch.randn(30, *batch)
    scaling = scaling_of(as_targets(pot, x, y, None, 1.0, 1.0))
    z = (x - scaling.shift) / scaling.scale
    with torch.no_grad():
        standard = pot(z)
        scaling.restore_(pot)
        torch.testing.assert_close(pot(x), scaling.offset + scaling.height * standard)
        scaling.apply_(pot)
        torch.testing.assert_close(pot(z), standard)


def test_scaled_energy_is_scaled(random_potential):
    for network in (ICNN, WhitenedICNN):
        pot, x = random_potential(1, 2, network=network), torch.randn(20, 2)
        with torch.no_grad():
            before, shares = pot(x), pot.responsibilities(x)
            pot.scale_energy_(torch.tensor(0.03))
            torch.testing.assert_close(pot(x), 0.03 * before)
            torch.testing.assert_close(pot.responsibilities(x), shares)


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
