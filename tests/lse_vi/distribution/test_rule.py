"""What every rule is: probabilities at points, and a log Z with its gradient."""

import numpy as np
import pytest
import torch

from lse_vi import (
    ICNN,
    Envelope,
    LaplaceMixture,
    LSEDensity,
    MomentMixture,
    Quadrature,
    WhitenedICNN,
)

BOX = (-3.0, 2.0)
CASES = [(ICNN, BOX), (WhitenedICNN, BOX), (WhitenedICNN, None)]
METHODS = [Quadrature(tolerance=1e-12), LaplaceMixture(500), MomentMixture(500), Envelope(500)]


def name(value):
    return type(value).__name__ if isinstance(value, tuple(map(type, METHODS))) else str(value)


@pytest.mark.parametrize(
    ("network", "bounds", "method"),
    [
        (*case, method)
        for case in CASES
        for method in METHODS
        if case[0] is WhitenedICNN or isinstance(method, (Quadrature, Envelope))
    ],
    ids=name,
)
@pytest.mark.parametrize("dim", [1, 2])
def test_gradient_in_the_parameters(random_potential, network, bounds, method, dim):
    """d log Z along a random direction; sampled rules are frozen, quadrature is made anew."""
    pot = random_potential(0, dim, network=network, rho=1.3)
    q = LSEDensity(pot, bounds, method=method)
    direction = {key: torch.randn_like(p) for key, p in pot.named_parameters()}

    def log_normalizer(t):
        moved = {key: p + t * direction[key] for key, p in pot.named_parameters()}
        other = pot.with_parameters(moved)
        if isinstance(method, Quadrature):
            return LSEDensity(other, bounds, method=method).log_normalizer
        return q.rule.log_normalizer(other)

    t = torch.zeros((), requires_grad=True)
    slope = torch.autograd.grad(log_normalizer(t), t)[0]
    with torch.no_grad():
        difference = (log_normalizer(1e-4) - log_normalizer(-1e-4)) / 2e-4
    # Central differences err by the third derivative times 2e-9, quadrature by 1e-12 / 1e-4.
    torch.testing.assert_close(slope, difference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "method", [LaplaceMixture(20_000), MomentMixture(20_000), Envelope(20_000)], ids=name
)
def test_sampled_gradients_are_those_of_quadrature(random_potential, estimate, method):
    """d log Z = -E_q[dE], along 20 directions, in units of the standard error of 20,000 draws.

    That is a hundredth of the gradient: an error of five per cent fails.
    """
    pot = random_potential(0, 2, network=WhitenedICNN, rho=1.0)
    start = {key: p.detach() for key, p in pot.named_parameters()}
    directions = {key: torch.randn(20, *p.shape) for key, p in start.items()}

    def gradient(q):
        parts = torch.autograd.grad(q.log_normalizer, list(pot.parameters()))
        flat = [directions[key].reshape(20, -1) for key in start]
        return torch.cat(flat, 1) @ torch.cat([p.flatten() for p in parts])

    exact, sampled = LSEDensity(pot), LSEDensity(pot, method=method)
    step, x = 1e-4, sampled.rule.points.unsqueeze(1)
    with torch.no_grad():
        up, down = (
            pot.with_parameters({key: p + t * directions[key] for key, p in start.items()})(x)
            for t in (step, -step)
        )
    slopes, error = estimate(sampled, (down - up) / (2 * step))
    torch.testing.assert_close(gradient(sampled), slopes, rtol=1e-5, atol=1e-5)
    assert ((slopes - gradient(exact)) / error).abs().max() < 4.5
    assert error.norm() < 0.02 * gradient(exact).norm()


def test_probabilities_of_a_rule_sum_to_one(random_potential):
    pot = random_potential(0, 3, network=WhitenedICNN, batch_shape=(2,), rho=1.0)
    q = LSEDensity(pot)
    ones = torch.ones(2)
    torch.testing.assert_close(q.rule.probabilities(pot).sum(0), ones, rtol=1e-12, atol=0)
    torch.testing.assert_close(q.mode_weights.sum(-1), ones, rtol=1e-12, atol=0)
    assert np.prod(q.rule.points.shape) == 8192 * 2 * 3
