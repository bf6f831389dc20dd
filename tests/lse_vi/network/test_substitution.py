"""A potential with other parameters, or many of them at once."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lse_vi import ICNN, LSEICNN, WhitenedICNN

NETWORKS = st.sampled_from([ICNN, WhitenedICNN])
SEEDS = st.integers(0, 2**32 - 1)


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@given(
    seed=SEEDS,
    network=NETWORKS,
    own=st.sampled_from([(), (3,)]),
    draws=st.sampled_from([(), (4,), (5, 1)]),
    data=st.data(),
)
@settings(deadline=None, max_examples=40)
def test_with_parameters(random_potential, seed, network, own, draws, data):
    """Any of the parameters replaced, each by any number of draws: one potential per draw."""
    pot = random_potential(seed, 2, network=network, batch_shape=own)
    names = [name for name, _ in pot.named_parameters()]
    chosen = data.draw(st.sets(st.sampled_from(names), min_size=1))
    before = {name: p.clone() for name, p in pot.state_dict().items()}
    tensors = {name: torch.randn((*draws, *before[name].shape)) for name in sorted(chosen)}
    many = pot.with_parameters(tensors)
    assert many.batch_shape == (*draws, *own)
    x = torch.randn(6, *draws, *own, 2)
    values, gradients = many.energy_and_gradient(x)
    for index in np.ndindex(*draws):
        one = random_potential(seed, 2, network=network, batch_shape=own)
        one.load_state_dict(before | {name: t[index] for name, t in tensors.items()})
        at = (slice(None), *index)
        close(values[at], one(x[at]))
        close(gradients[at], one.gradient(x[at]))
    assert all(torch.equal(p, before[name]) for name, p in pot.state_dict().items())


def test_with_parameters_lets_gradients_flow(random_potential):
    pot = random_potential(0, 2, network=WhitenedICNN)
    draws = {name: torch.randn(5, *p.shape).requires_grad_() for name, p in pot.named_parameters()}
    loss = pot.with_parameters(draws)(torch.randn(7, 1, 2)).sum()
    gradients = torch.autograd.grad(loss, list(draws.values()))
    assert all(g.shape == d.shape for g, d in zip(gradients, draws.values(), strict=True))
    assert all(g.abs().max() > 0 for g in gradients)
    assert all(p.grad is None for p in pot.parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile itself
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_it_is_the_same_potential():
    torch.manual_seed(0)
    pot, x = LSEICNN(2, 3), torch.randn(50, 2)
    other = {name: torch.randn(4, *p.shape) for name, p in pot.named_parameters()}
    expected, moved = pot(x), pot.with_parameters(other)(x.unsqueeze(1))
    slopes = torch.autograd.grad(expected.sum(), list(pot.parameters()))
    pot.compile()
    compiled = pot(x)
    compiled.sum().backward()
    torch.testing.assert_close(compiled, expected)
    for p, slope in zip(pot.parameters(), slopes, strict=True):
        torch.testing.assert_close(p.grad, slope)
    torch.testing.assert_close(pot.with_parameters(other)(x.unsqueeze(1)), moved)
