"""Wells, barriers and basins on a circle, the one at the seam among them."""

import math

import pytest
import torch

from lse_vi import LSEICNN, Blend, WhitenedICNN, basins, stationary_points
from lse_vi.network.circle import apart

TURN = 2 * math.pi


class Torsion:
    """E = height (1 + cos 3 phi): wells at -pi/3, pi/3 and pi, barriers between them."""

    dim = 1

    def __init__(self, height=1.0, period=TURN):
        self.height, self.period = height, period

    def __call__(self, x):
        return self.height * (1 + torch.cos(3 * x)).squeeze(-1)

    def gradient(self, x):
        return -3 * self.height * torch.sin(3 * x)

    def hessian(self, x):
        return -9 * self.height * torch.cos(3 * x).unsqueeze(-1)


def network(units=False):
    """Modes at the wells of :class:`Torsion`; with ``units``, in degrees, moved and scaled."""
    pot = LSEICNN(1, 3, hidden=(), rho=1.0, network=WhitenedICNN, period=TURN)
    at = torch.tensor([[-TURN / 6], [TURN / 6], [TURN / 2]])
    pot.network.reset_parameters(at, torch.full((3, 1, 1), 3.0))
    if units:
        scale = 360 / TURN
        pot.units.set_(shift=500.0, scale=scale, offset=-4e4, height=7.0, period=360.0)
    return pot


def on_circle(x, y, period=TURN):
    return apart(torch.as_tensor(x), torch.as_tensor(y), torch.tensor(period)).abs()


@pytest.mark.parametrize("low", [-math.pi, 0.0, 1.234, math.pi / 3])
@pytest.mark.parametrize("make", [Torsion, network])
def test_a_torsion_has_three_wells_and_three_barriers_from_any_origin(make, low):
    starts = (low + torch.arange(40) / 40 * TURN).unsqueeze(-1)
    found = stationary_points(make(), starts)
    assert sorted(found.kinds) == ["maximum"] * 3 + ["minimum"] * 3
    wells, tops = found.points[:3].flatten(), found.points[3:].flatten()
    for points, exact in (
        (wells, [-TURN / 6, TURN / 6, TURN / 2]),
        (tops, [0, TURN / 3, -TURN / 3]),
    ):
        gaps = on_circle(points.unsqueeze(1), torch.tensor(exact, dtype=torch.float64))
        assert float(gaps.amin(0).max()) < 1e-6
    assert bool(((found.points >= low) & (found.points < low + TURN)).all())
    torch.testing.assert_close(found.energies[:3], found.energies[:1].expand(3))


def test_units_change_nothing_but_the_numbers():
    plain, other = network(), network(units=True)
    starts = torch.linspace(-math.pi, math.pi, 41).unsqueeze(-1)
    one = stationary_points(plain, starts)
    two = stationary_points(other, 500 + starts * 360 / TURN)
    assert one.kinds == two.kinds
    back = (two.points - 500) * TURN / 360
    gaps = on_circle(one.points.unsqueeze(1), back.unsqueeze(0)).squeeze(-1)
    assert float(gaps.amin(0).max()) < 1e-6
    torch.testing.assert_close(two.energies, -4e4 + 7 * one.energies)


@pytest.mark.parametrize("units", [False, True])
def test_the_basins_are_the_thirds_of_the_circle(units):
    pot, (shift, scale) = network(units), (500.0, 360 / TURN) if units else (0.0, 1.0)
    wells = torch.tensor([-TURN / 6, TURN / 6, TURN / 2])
    angles = torch.linspace(-2.9 * math.pi, 2.9 * math.pi, 250)
    nearest = on_circle(angles.unsqueeze(1), wells).argmin(-1)
    for turn in (0.0, -TURN):  # the same wells, named by other numbers
        minima = (shift + scale * (wells + turn)).unsqueeze(-1)
        x = (shift + scale * angles).unsqueeze(-1)
        assert torch.equal(basins(pot, x, minima), nearest)


def test_an_angle_beside_a_length():
    """Wells at (pi, -3) and (0, 3): one is across the seam, and none is counted twice."""
    pot = LSEICNN(2, 2, hidden=(), rho=1.0, network=WhitenedICNN, period=(TURN, None))
    at = torch.tensor([[math.pi, -3.0], [0.0, 3.0]])
    pot.network.reset_parameters(at)
    angle, length = torch.linspace(-math.pi, math.pi, 13), torch.linspace(-5, 5, 9)
    found = stationary_points(pot, torch.cartesian_prod(angle, length))
    low = found.points[[kind == "minimum" for kind in found.kinds]]
    assert low.shape == (2, 2)
    assert float(on_circle(low[:, 0].unsqueeze(1), at[:, 0]).amin(0).max()) < 1e-6
    x = torch.tensor([[-3.1, -2.0], [3.1, -2.0], [0.1, 2.0], [TURN - 0.1, 2.0]])
    assert basins(pot, x, at).tolist() == [0, 0, 1, 1]


def test_a_blend_is_as_periodic_as_its_parts():
    blend = Blend(Torsion(1.0), Torsion(3.0), weight=lambda t: t)
    starts = (torch.arange(40) / 40 * TURN + 0.1).unsqueeze(-1)
    assert stationary_points(blend.at(0.5), starts).kinds.count("minimum") == 3
    with pytest.raises(ValueError, match="first and second must have the same period"):
        Blend(Torsion(), Torsion(period=None), weight=lambda t: t)
