"""Gradient flow and basins, against landscapes whose answers are known."""

import pytest
import torch

from lse_vi import (
    LSEICNN,
    WhitenedICNN,
    basins,
    gradient_flow,
)


def test_flow_follows_the_closed_form(polynomial):
    """x2 decays as exp(-2t), and u = x1^2 follows the logistic du/dt = 8 u (1 - u)."""
    x0, t = torch.tensor([[0.3, 1.0], [-1.7, -0.4]]), torch.tensor([0.0, 0.1, 0.4, 2.0])
    path = gradient_flow(polynomial(), x0, t)
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


def test_basins_of_a_symmetric_landscape_are_its_halves(polynomial):
    x = torch.randn(500, 2)
    minima = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    label = basins(polynomial(), x, minima)
    assert torch.equal(label, (x[:, 0] > 0).long())
    assert basins(polynomial(), x.reshape(5, 100, 2), minima).shape == (5, 100)
    known = basins(polynomial(), x, minima[:1], doublings=0)
    assert torch.equal(known == -1, x[:, 0] > 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("centre", [0.0, 100.0])
def test_the_only_minimum_is_in_its_own_basin(centre, dtype):
    pot = LSEICNN(2, 1, network=WhitenedICNN, dtype=dtype)
    pot.network.reset_parameters(torch.full((1, 2), centre, dtype=dtype))
    minima = pot.minima(torch.rand(20, 2, dtype=dtype) + centre).points
    assert basins(pot, minima, minima).tolist() == [0]
    assert basins(pot, minima[0], minima).tolist() == 0


NO_POINTS = [([[0.0, 1.0]], "list"), (torch.zeros(2, 2, dtype=int), r"torch\.int64")]


@pytest.mark.parametrize(("points", "kind"), NO_POINTS, ids=["list", "integers"])
def test_points_of_another_kind_are_named(polynomial, points, kind):
    message = rf"must be a tensor( of floating-point numbers)?, but got {kind}"
    with pytest.raises(TypeError, match=f"x0 {message}"):
        gradient_flow(polynomial(), points, [0.0, 1.0])
    with pytest.raises(TypeError, match=f"x {message}"):
        basins(polynomial(), points, torch.zeros(1, 2))


def test_bad_input_of_a_flow_is_named(polynomial, grid):
    with pytest.raises(ValueError, match="times must be at least two increasing"):
        gradient_flow(polynomial(), grid, [1.0, 0.0])
    with pytest.raises(ValueError, match="x0 must have last dimension 2"):
        gradient_flow(polynomial(), torch.zeros(5, 3), [0.0, 1.0])


def test_bad_input_of_basins_is_named(polynomial, grid):
    pot = polynomial()
    with pytest.raises(ValueError, match="positive curvature"):
        basins(pot, grid, torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"x is empty: shape \(0, 2\)"):
        basins(pot, torch.zeros(0, 2), torch.ones(1, 2))
    with pytest.raises(ValueError, match="doublings must be at least 0, but got -1"):
        basins(pot, grid, torch.ones(1, 2), doublings=-1)
    for minima in (torch.zeros(0, 2), torch.zeros(2)):
        with pytest.raises(ValueError, match=r"minima must have shape \(m, 2\)"):
            basins(pot, grid, minima)
