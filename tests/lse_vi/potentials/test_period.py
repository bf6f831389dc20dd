"""Periodic potentials fitted to values and gradients: torsions, whatever their origin and units."""

import math

import pytest
import torch

from lse_vi import ICNN, LSEICNN, Adam, WhitenedICNN, fit_potential

TURN = 2 * math.pi
QUICK = {"progress": False, "restarts": 4}


def torsion(modes=4, dim=1, **options):
    return LSEICNN(dim, modes, hidden=(5,), network=WhitenedICNN, **options)


def three_wells(n=72, start=-math.pi):
    """1 + cos 3 x, with wells at -pi/3, pi/3, and pi, where the data begin and end."""
    x = start + torch.arange(n) * (TURN / n)
    return x, 1 + torch.cos(3 * x), -3 * torch.sin(3 * x)


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_a_torsion_has_three_minima_the_one_at_pi_once(seed):
    x, y, _ = three_wells()
    res = fit_potential(torsion(), x, value=y, period=TURN, seed=seed, progress=False)
    assert float(res.error) < 0.02  # of the spread of the values, 0.7
    at = res.minima.points.squeeze(-1)
    assert len(at) == 3
    torch.testing.assert_close(torch.cos(3 * at), -torch.ones(3), atol=1e-3, rtol=0.0)
    torch.testing.assert_close(res.minima.energies, torch.zeros(3), atol=0.05, rtol=0.0)


def test_forces_alone_give_the_wells_and_energy_and_gradient_are_periodic_to_rounding():
    x, _, g = three_wells()
    res = fit_potential(torsion(period=TURN), x, gradient=g.unsqueeze(-1), **QUICK)
    assert len(res.minima.points) == 3
    grid = torch.linspace(-3, 3, 40).unsqueeze(-1)
    for function in (res.potential, res.potential.gradient):
        torch.testing.assert_close(
            function(grid + 2 * TURN), function(grid), atol=1e-12, rtol=1e-12
        )


def test_shifting_the_origin_and_the_turns_of_points_change_nothing():
    x, y, g = three_wells(40)
    y = y + 0.3 * torch.cos(x)
    g = (g - 0.3 * torch.sin(x)).unsqueeze(-1)
    turns = TURN * (torch.arange(40) % 3)
    grid = torch.linspace(-3, 3, 50).unsqueeze(-1)
    few = {**QUICK, "period": TURN, "polish": 10}
    one, other = (fit_potential(torsion(3), x + c, y, g, **few) for c in (0.0, 1.234 + turns))
    torch.testing.assert_close(
        other.potential(grid + 1.234), one.potential(grid), atol=1e-8, rtol=1e-8
    )


def test_an_angle_in_degrees_beside_a_linear_coordinate():
    """Two wells along the angle, at -90 and 90 degrees, in a parabola along the other."""
    torch.manual_seed(0)
    x = torch.stack([360 * torch.rand(150), 4 * torch.rand(150) - 2], 1)
    y = torch.cos(x[:, 0] * TURN / 180) + x[:, 1].square() / 2
    few = {**QUICK, "polish": 20, "discovery": None, "period": (360, None)}
    res = fit_potential(torsion(2, dim=2), x, value=y, **few)
    assert float(res.error) < 0.1
    at = res.minima.points
    assert sorted(at[:, 0].tolist()) == pytest.approx([90, 270], abs=5)
    assert at[:, 1].tolist() == pytest.approx([0, 0], abs=0.1)
    turned = res.potential(x + torch.tensor([360.0, 0.0]))
    torch.testing.assert_close(turned, res.potential(x), atol=1e-10, rtol=1e-10)


def test_adam_holds_modes_too_and_a_fit_goes_on_where_one_ended(tmp_path):
    x, y, _ = three_wells(40)
    few = {"progress": False, "discovery": None, "polish": 0}
    adam = Adam(steps=300)
    rough = fit_potential(torsion(3), x, value=y, period=TURN, solver=adam, restarts=2, **few)
    finer = fit_potential(rough.potential, x, value=y, restarts=0, held_out=0.0, **few)
    assert float(finer.error) < float(rough.error)
    rough.potential.save(tmp_path / "pot.pt")


def test_a_batch_has_one_period_and_fits_of_its_own():
    x, y, _ = three_wells(40)
    both = torch.stack([y, 2 - y], 1)
    pot = torsion(3, batch_shape=(2,))
    res = fit_potential(pot, x, value=both, period=TURN, discovery=None, **QUICK)
    assert [len(res.select(i).minima.points) for i in range(2)] == [3, 3]


def test_a_constant_along_the_circle_is_met():
    """A potential that says nothing of the angle: its modes are as wide as a period."""
    torch.manual_seed(1)
    x = torch.stack([TURN * torch.rand(100), torch.randn(100)], 1)
    few = {**QUICK, "discovery": None, "period": (TURN, None)}
    res = fit_potential(torsion(2, dim=2), x, value=x[:, 1].square(), **few)
    assert float(res.error) < 0.05


def test_what_a_circle_cannot_have_is_refused_by_name():
    x, y, _ = three_wells(20)
    with pytest.raises(ValueError, match=r"period: expected strongly convex modes"):
        fit_potential(LSEICNN(1, 2, network=ICNN), x, value=y, period=TURN, **QUICK)
    with pytest.raises(ValueError, match=r"period must be that of pot, \[6.28.*but got 360"):
        fit_potential(torsion(period=TURN), x, value=y, period=360, **QUICK)
    with pytest.raises(ValueError, match=r"period must be a number or 1 entries"):
        fit_potential(torsion(), x, value=y, period=(1.0, 2.0), **QUICK)
