"""Gradient flow, stationary points and basins, against landscapes whose answers are known."""

import math

import pytest
import torch
from numpy.polynomial import Polynomial as Poly

from lse_vi import (
    LSEICNN,
    Blend,
    WhitenedICNN,
    basins,
    gradient_flow,
    rates_from_trajectories,
    stationary_points,
)


class Polynomial:
    """E = (x1^2 - 1)^2 + x2^2 + tilt x1: wells near (-1, 0) and (1, 0), a saddle between."""

    dim = 2

    def __init__(self, tilt=0.0):
        self.tilt = tilt

    def __call__(self, x):
        return (x[..., 0] ** 2 - 1) ** 2 + x[..., 1] ** 2 + self.tilt * x[..., 0]

    def gradient(self, x):
        return torch.stack([4 * x[..., 0] * (x[..., 0] ** 2 - 1) + self.tilt, 2 * x[..., 1]], -1)

    def hessian(self, x):
        return torch.diag_embed(torch.stack([12 * x[..., 0] ** 2 - 4, 2 + 0 * x[..., 1]], -1))


GRID = torch.cartesian_prod(
    torch.linspace(-2, 2, 9, dtype=torch.float64), torch.linspace(-1.5, 1, 6, dtype=torch.float64)
)


def test_flow_follows_the_closed_form():
    """x2 decays as exp(-2t), and u = x1^2 follows the logistic du/dt = 8 u (1 - u)."""
    x0, t = torch.tensor([[0.3, 1.0], [-1.7, -0.4]]), torch.tensor([0.0, 0.1, 0.4, 2.0])
    path = gradient_flow(Polynomial(), x0, t)
    u0, s = x0[:, 0] ** 2, t.unsqueeze(-1)
    u = u0 / (u0 + (1 - u0) * torch.exp(-8 * s))
    exact = torch.stack([x0[:, 0].sign() * u.sqrt(), x0[:, 1] * torch.exp(-2 * s)], dim=-1)
    torch.testing.assert_close(path, exact, atol=1e-7, rtol=0)


def test_energy_decreases_along_every_flow_of_a_network(random_potential):
    pot = random_potential(0, 3)
    path = gradient_flow(pot, torch.randn(50, 3), torch.linspace(0, 3, 61))
    with torch.no_grad():
        energy = pot(path)
    assert path.shape == (61, 50, 3)
    assert bool((energy.diff(dim=0) <= 1e-9).all())


def test_stationary_points_have_their_kinds():
    found = stationary_points(Polynomial(tilt=0.3), GRID)
    assert sorted(found.kinds) == ["minimum", "minimum", "saddle"]
    assert torch.equal(found.energies, found.energies.sort().values)
    left, saddle, right = Poly([0.3, -4.0, 0.0, 4.0]).roots().real
    roots = [left, right, saddle]  # in the order of E
    expected = torch.tensor([[root, 0.0] for root in roots])
    torch.testing.assert_close(found.points, expected, atol=1e-6, rtol=0)
    assert bool((found.curvatures[2] == found.curvatures[2].sort().values).all())


def test_a_maximum_is_one():
    class Hill(Polynomial):
        def __call__(self, x):
            return -x.square().sum(-1)

        def gradient(self, x):
            return -2 * x

        def hessian(self, x):
            return -2 * torch.eye(2).expand(*x.shape, 2)

    assert stationary_points(Hill(), GRID).kinds == ("maximum",)


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


def test_basins_of_a_symmetric_landscape_are_its_halves():
    x = torch.randn(500, 2)
    minima = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    label = basins(Polynomial(), x, minima)
    assert torch.equal(label, (x[:, 0] > 0).long())
    assert basins(Polynomial(), x.reshape(5, 100, 2), minima).shape == (5, 100)
    known = basins(Polynomial(), x, minima[:1], doublings=0)
    assert torch.equal(known == -1, x[:, 0] > 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("centre", [0.0, 100.0])
def test_the_only_minimum_is_in_its_own_basin(centre, dtype):
    pot = LSEICNN(2, 1, network=WhitenedICNN, dtype=dtype)
    pot.network.reset_parameters(torch.full((1, 2), centre, dtype=dtype))
    minima = pot.minima(torch.rand(20, 2, dtype=dtype) + centre).points
    assert basins(pot, minima, minima).tolist() == [0]
    assert basins(pot, minima[0], minima).tolist() == 0


def test_blend_passes_from_one_landscape_to_the_other():
    first, second = Polynomial(0.0), Polynomial(4.0)
    blend = Blend(first, second, weight=lambda t: 1 - math.exp(-t))
    torch.testing.assert_close(blend.at(0.0)(GRID), first(GRID))
    torch.testing.assert_close(blend.at(50.0).gradient(GRID), second.gradient(GRID))
    torch.testing.assert_close(blend.at(0.5).hessian(GRID), first.hessian(GRID))
    kinds = [stationary_points(blend.at(t), GRID).kinds for t in (0.0, 5.0)]
    assert [len(kind) for kind in kinds] == [3, 1]  # a tilt above 1.54 leaves one well
    path = gradient_flow(blend, torch.tensor([[1.0, 0.5]]), [0.0, 1.0, 8.0])
    assert path[1, 0, 0] > -0.5
    assert path[2, 0, 0] < -1.0


@pytest.mark.parametrize(("noise", "error"), [(0.0, 1e-3), (0.01, 0.15)])
def test_rates_from_paths(noise, error):
    """Of an oscillation, whose rates are known: relative error below a bound."""
    t, phase = torch.linspace(0, 6, 121), torch.rand(20, 1) * 6
    paths = torch.sin(t.reshape(-1, 1, 1) + phase)
    x, rates = rates_from_trajectories(t, paths + noise * torch.randn_like(paths))
    exact = torch.cos(t[2:-2].reshape(-1, 1, 1) + phase).reshape(-1, 1)
    assert x.shape == rates.shape == exact.shape
    assert float((rates - exact).square().mean().sqrt()) < error


def test_bad_input_is_named():
    pot = Polynomial()
    with pytest.raises(ValueError, match="times must be at least two increasing"):
        gradient_flow(pot, GRID, [1.0, 0.0])
    with pytest.raises(ValueError, match="x0 must have last dimension 2"):
        gradient_flow(pot, torch.zeros(5, 3), [0.0, 1.0])
    for starts in (torch.zeros(4, 2), torch.zeros(0, 2), torch.zeros(2)):
        with pytest.raises(ValueError, match="starts must hold at least two different points"):
            stationary_points(pot, starts)
    with pytest.raises(ValueError, match="positive curvature"):
        basins(pot, GRID, torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"x is empty: shape \(0, 2\)"):
        basins(pot, torch.zeros(0, 2), torch.ones(1, 2))
    for minima in (torch.zeros(0, 2), torch.zeros(2)):
        with pytest.raises(ValueError, match=r"minima must have shape \(m, 2\)"):
            basins(pot, GRID, minima)
    with pytest.raises(TypeError, match=r"minima must be of dtype torch\.float64"):
        basins(pot, GRID, torch.zeros(1, 2, dtype=torch.float32))
    for starts, kind in (([[0.0, 1.0]], "list"), (torch.zeros(2, 2, dtype=int), r"torch\.int64")):
        message = f"must be a tensor of floating-point numbers, but got {kind}"
        with pytest.raises(TypeError, match=f"x0 {message}"):
            gradient_flow(pot, starts, [0.0, 1.0])
        with pytest.raises(TypeError, match=f"starts {message}"):
            stationary_points(pot, starts)
        with pytest.raises(TypeError, match=f"x {message}"):
            basins(pot, starts, torch.zeros(1, 2))
    other = Polynomial()
    other.dim = 3
    with pytest.raises(ValueError, match="same dimension"):
        Blend(pot, other, weight=float)
    with pytest.raises(ValueError, match="at least nine"):
        rates_from_trajectories([0.0, 1.0, 2.0], torch.zeros(3, 1, 1))
    with pytest.raises(ValueError, match="paths must have shape"):
        rates_from_trajectories(torch.arange(10.0), torch.zeros(9, 1, 1))
