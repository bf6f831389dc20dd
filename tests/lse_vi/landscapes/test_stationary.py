"""Stationary points and their kinds."""

import pytest
import torch
from numpy.polynomial import Polynomial as Poly

from lse_vi import stationary_points


def test_stationary_points_have_their_kinds(polynomial, grid):
    found = stationary_points(polynomial(tilt=0.3), grid)
    assert sorted(found.kinds) == ["minimum", "minimum", "saddle"]
    assert torch.equal(found.energies, found.energies.sort().values)
    left, saddle, right = Poly([0.3, -4.0, 0.0, 4.0]).roots().real
    roots = [left, right, saddle]  # in the order of E
    expected = torch.tensor([[root, 0.0] for root in roots])
    torch.testing.assert_close(found.points, expected, atol=1e-6, rtol=0)
    assert bool((found.curvatures[2] == found.curvatures[2].sort().values).all())


def test_a_maximum_is_one(polynomial, grid):
    class Hill(polynomial):
        def __call__(self, x):
            return -x.square().sum(-1)

        def gradient(self, x):
            return -2 * x

        def hessian(self, x):
            return -2 * torch.eye(2).expand(*x.shape, 2)

    assert stationary_points(Hill(), grid).kinds == ("maximum",)


def test_minima_of_a_network_are_among_its_stationary_points(random_potential):
    pot = random_potential(3, 2, modes=3, spread=0.3)
    starts = 4 * torch.randn(200, 2)
    found = stationary_points(pot, starts)
    low = found.points[[kind == "minimum" for kind in found.kinds]]
    minima = pot.minima(starts).points
    inside = minima[((minima > starts.amin(0)) & (minima < starts.amax(0))).all(-1)]
    torch.testing.assert_close(low, inside, atol=1e-4, rtol=0)
    with torch.no_grad():
        assert float(pot.gradient(found.points).abs().max()) < 1e-5


def test_bad_starts_are_named(polynomial):
    for starts in (torch.zeros(4, 2), torch.zeros(0, 2), torch.zeros(2)):
        with pytest.raises(ValueError, match="starts must hold at least two different points"):
            stationary_points(polynomial(), starts)
    for starts, kind in (([[0.0, 1.0]], "list"), (torch.zeros(2, 2, dtype=int), r"torch\.int64")):
        message = rf"starts must be a tensor( of floating-point numbers)?, but got {kind}"
        with pytest.raises(TypeError, match=message):
            stationary_points(polynomial(), starts)
