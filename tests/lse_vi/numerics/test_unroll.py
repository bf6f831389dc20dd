"""States through time, and their gradients, against the graph over all steps."""

import pytest
import torch

from lse_vi.numerics.unroll import unroll

TIMES, PATHS, STATES = 12, 5, 3


@pytest.fixture
def recurrence():
    """A nonlinear step with parameters and two drives."""
    net = torch.nn.Linear(STATES + 2, STATES)

    def step(h, drive, length):
        return h + length * torch.tanh(net(torch.cat([h, drive], dim=-1)))

    drives = torch.randn(TIMES, PATHS, 2), torch.rand(TIMES, PATHS, 1)
    return net, step, torch.randn(PATHS, STATES), drives


def one_graph(step, start, *drives):
    states = [start]
    for slices in zip(*drives, strict=True):
        states.append(step(states[-1], *slices))
    return torch.stack(states)


def test_states_and_all_gradients_are_those_of_one_graph(recurrence):
    net, step, start, drives = recurrence
    weights = torch.randn(TIMES + 1, PATHS, STATES)  # every state counts, each its own way
    leaves = [start.requires_grad_(), *(d.requires_grad_() for d in drives), *net.parameters()]
    results = []
    for f in (unroll, one_graph):
        states = f(step, start, *drives)
        results.append((states, *torch.autograd.grad((weights * states).sum(), leaves)))
    for ours, exact in zip(*results, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)


def test_gradient_against_finite_differences(recurrence):
    net, _, start, drives = recurrence
    assert torch.autograd.gradcheck(
        lambda w: unroll(
            lambda h, u, ds: h + ds * torch.tanh(torch.cat([h, u], -1) @ w.mT), start, *drives
        ),
        net.weight.detach().requires_grad_(),
    )


def test_without_gradients_there_is_no_graph(recurrence):
    net, step, start, drives = recurrence
    with torch.no_grad():
        assert not unroll(step, start, *drives).requires_grad
    net.requires_grad_(False)
    assert not unroll(step, start, *drives).requires_grad


def test_drives_of_different_lengths_are_refused(recurrence):
    _, step, start, (drive, length) = recurrence
    with pytest.raises(ValueError):
        unroll(step, start, drive, length[:-1])
