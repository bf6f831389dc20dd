"""The distinct minima of a function, and of a potential."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from lse_vi import LSEICNN, WhitenedICNN
from lse_vi.numerics.minima import find_minima


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def double_well(half_distance, rho, *, depth=0.0):
    """f = (x -+ a)^2/2, so E = (x^2 + a^2)/2 - log cosh(rho a x) / rho for equal depths."""
    pot = LSEICNN(1, 2, hidden=(), rho=rho, network=WhitenedICNN)
    with torch.no_grad():
        pot.network.loc.copy_(torch.tensor([[-half_distance], [half_distance]]))
        pot.network.icnn.bias.copy_(torch.tensor([[0.0], [depth]]))
    return pot


def test_minima_are_those_that_scipy_finds(problem):
    """From 40 starts: each once, lowest first, and none that SciPy does not meet."""
    found = find_minima(
        problem.energy, problem.gradient, problem.hessian, problem.starts, separation=1e-3
    )
    distance = torch.cdist(problem.expected.x, found.points)
    assert distance.amin(0).max() < 1e-4
    assert distance.amin(1).max() < 1e-4
    torch.testing.assert_close(found.energies, problem.energy(found.points))
    assert found.energies.tolist() == sorted(found.energies.tolist())
    apart = torch.cdist(found.points, found.points).fill_diagonal_(torch.inf)
    assert apart.min() > 0.1


@given(
    half_distance=st.floats(0.2, 3.0),
    stiffness=st.floats(0.1, 0.9) | st.floats(1.1, 20.0),  # rho a^2, away from the bifurcation
    shift=st.floats(-5.0, 5.0),
    scale=st.floats(0.1, 10.0),
)
@settings(deadline=None, max_examples=60)
def test_minima_of_a_double_well(half_distance, stiffness, shift, scale):
    """x = a tanh(rho a x): a pitchfork at rho a^2 = 1, one minimum before and two after."""
    rho = stiffness / half_distance**2
    pot = double_well(half_distance, rho)
    pot.network.compose_affine_(torch.tensor([shift]), torch.tensor([scale]))
    starts = shift + scale * torch.linspace(-4.0, 4.0, 15)[:, None]
    minima = pot.minima(starts)
    expected = [0.0]
    if stiffness > 1:
        a = half_distance
        root = brentq(lambda x: x - a * math.tanh(rho * a * x), 1e-3 * a, a, xtol=1e-14)
        expected = [-root, root]
    found = (minima.points.squeeze(-1).sort().values - shift) / scale
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-5)
    close(minima.energies, pot(minima.points), 1e-12)


def test_minima_come_lowest_first_and_leave_the_saddle_out():
    pot = double_well(2.0, rho=4.0, depth=-0.5)
    points, energies = pot.minima(torch.linspace(-3.0, 3.0, 13)[:, None])
    assert energies.tolist() == sorted(energies.tolist())
    torch.testing.assert_close(points, torch.tensor([[2.0], [-2.0]]), rtol=1e-3, atol=0.0)


def test_minima_in_six_dimensions():
    """Twelve far quadratic wells of known depth: every one found, from starts beside them."""
    pot = LSEICNN(6, 12, hidden=(), rho=20.0, network=WhitenedICNN)
    centers, depths = 20 * torch.rand(12, 6), torch.arange(12.0) / 12
    with torch.no_grad():
        pot.network.loc.copy_(centers)
        pot.network.icnn.bias.copy_(depths[:, None])
    minima = pot.minima(centers.repeat(3, 1) + torch.randn(36, 6))
    close(minima.points, centers, 1e-6)
    offset = (math.log(12) - pot.log_gates[0].item()) / 20
    close(minima.energies, depths + offset, 1e-9)
