"""Single modes: their derivatives, and the paraboloids that they lie above."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lse_vi import WhitenedICNN
from lse_vi.distribution.modes import SingleModes, mode_minima

SEEDS = st.integers(0, 2**32 - 1)
HIDDEN = st.sampled_from([(), (5,), (8, 8)])
BATCHES = st.sampled_from([(), (2,), (2, 3)])


@settings(deadline=None, max_examples=15)
@given(
    seed=SEEDS,
    dim=st.integers(1, 6),
    hidden=HIDDEN,
    batch_shape=BATCHES,
    condition=st.sampled_from([1.0, 1e3, 1e6]),
)
def test_modes_lie_above_the_paraboloid_at_their_minima(
    random_potential, seed, dim, hidden, batch_shape, condition
):
    """f(u) >= f(u*) + |u - u*|^2/2 with the frame's own u, near the minimiser and far from it."""
    pot = random_potential(seed, dim, network=WhitenedICNN, hidden=hidden, batch_shape=batch_shape)
    with torch.no_grad():
        pot.network.log_diagonal += torch.linspace(0, math.log(condition), dim)
        minima, factor = mode_minima(pot), pot.network.precision_factor()
        for length in (1e-3, 1.0, 30.0):
            step = length * torch.randn(20, *batch_shape, 3, dim)
            away = torch.linalg.solve_triangular(factor, step.unsqueeze(-1), upper=False)
            f = SingleModes(pot.network.stack()).value_and_gradient(minima.x + away.squeeze(-1))[0]
            floor = minima.f + step.square().sum(-1) / 2
            # x is rounded to 2e-16 of itself, so u = L (x - m) to that times L's condition.
            assert (f >= floor - 1e-14 * torch.linalg.cond(factor) * (1 + f.abs())).all()


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, dim=st.integers(1, 5), hidden=HIDDEN, batch_shape=BATCHES)
def test_derivatives_of_single_modes(random_potential, seed, dim, hidden, batch_shape):
    pot = random_potential(seed, dim, network=WhitenedICNN, hidden=hidden, batch_shape=batch_shape)
    modes = SingleModes(pot.network.stack())
    x = torch.randn(*batch_shape, 3, dim, requires_grad=True)
    f, gradient = modes.value_and_gradient(x)
    own = pot.mode_potentials(x.movedim(-2, 0)).movedim(0, -2).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(f, own, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, torch.autograd.grad(f.sum(), x)[0], rtol=1e-9, atol=1e-9)
    step = 1e-5
    differences = [
        (modes.value_and_gradient(x + step * e)[1] - modes.value_and_gradient(x - step * e)[1])
        / (2 * step)
        for e in torch.eye(dim)
    ]
    torch.testing.assert_close(modes.hessian(x), torch.stack(differences, -2), rtol=1e-5, atol=1e-6)
