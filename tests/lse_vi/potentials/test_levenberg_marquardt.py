"""Levenberg and Marquardt's steps: never up, few where the problem is linear."""

import pytest
import torch

from lse_vi import LSEICNN, LevenbergMarquardt
from lse_vi.potentials.targets import as_targets


def problem(pot, n=40):
    x = torch.linspace(-2, 2, n).unsqueeze(-1)
    return as_targets(pot, x, x[:, 0].abs() ** 3, 3 * x * x.abs(), 1.0, 1.0)


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
