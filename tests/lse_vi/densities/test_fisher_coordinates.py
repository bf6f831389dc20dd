"""The coordinates in which L-BFGS goes on with a fit."""

import pytest
import torch

import lse_vi.densities.fisher_coordinates as fisher
from lse_vi import ICNN, LSEICNN, LSEDensity, WhitenedICNN
from lse_vi.densities.fisher_coordinates import FisherCoordinates
from lse_vi.densities.weight_prior import prior_weights

N = 1000


def build(batch_shape=(), network=WhitenedICNN, hidden=(4, 3)):
    torch.manual_seed(0)
    pot = LSEICNN(
        1, 2, hidden=hidden, batch_shape=batch_shape, rho=1.0, network=network, dtype=torch.float64
    )
    pot.log_rho.requires_grad_(network is ICNN)
    bounds = (-3.0, 3.0) if network is ICNN else None
    return pot, LSEDensity(pot, bounds).rule


@pytest.mark.parametrize("network", [WhitenedICNN, ICNN])
@pytest.mark.parametrize("batch_shape", [(), (2,), (1, 2)])
def test_phi_zero_is_where_it_starts_and_gradients_flow(batch_shape, network):
    pot, rule = build(batch_shape, network)
    there, x = FisherCoordinates(pot, rule, N), torch.randn(20, *batch_shape, 1).double()
    torch.testing.assert_close(there.potential()(x), pot(x))
    there.potential()(x).sum().backward()
    assert all(bool((phi.grad != 0).any()) for phi in there.phi)
    assert all(p.grad is None for p in pot.parameters())


def curvature(there, rule):
    """Second derivatives in phi, at zero, of n KL(q_0, q) and the parabolas over the prior."""
    weights, pulls = rule.probabilities(there.pot), prior_weights(there.pot)
    start = {name: p.detach() for name, p in there.pot.named_parameters()}

    def loss(phi):
        there.phi = [phi]
        moved = there.potential()
        energy = (weights * moved(rule.points)).sum() + rule.log_normalizer(moved)
        squares = [
            pulls[name] * (p - start[name]).square()
            for name, p in moved.named_parameters()
            if name in pulls
        ]
        return N * energy + 0.5 * sum(square.sum() for square in squares)

    (phi,) = there.phi
    return torch.autograd.functional.hessian(loss, phi).reshape(phi.numel(), phi.numel())


@pytest.mark.parametrize("slope", [1.0, 5.0])
def test_the_curvature_is_one_in_every_direction_of_a_mode(slope, monkeypatch):
    """Where a unit is a wall too, to rounding; theta is ill-conditioned there."""
    monkeypatch.setattr(fisher, "INFORMATION_POINTS", 100_000)
    pot, _ = build()
    with torch.no_grad():
        pot.network.loc.copy_(torch.tensor([[-6.0], [6.0]]))
        pot.network.icnn.weight.mul_(slope)
        pot.network.icnn.bias.mul_(slope)
        pot.network.icnn.raw_inner[-1].add_(5.0)
    rule = LSEDensity(pot).rule
    there = FisherCoordinates(pot, rule, N)
    information = there.factors[0][0] @ there.factors[0][0].mT
    in_theta = torch.linalg.eigvalsh(information)
    assert bool((in_theta[:, -1] / in_theta[:, 0] > 1e4).all())
    size = information.shape[-1]
    h = curvature(there, rule).reshape(2, size, 2, size)
    for k in range(2):
        in_phi = torch.linalg.eigvalsh(h[k, :, k])
        torch.testing.assert_close(in_phi, torch.ones(size).double(), rtol=0, atol=1e-6)


def test_draws_stand_for_the_nodes_of_a_rule_that_has_many(monkeypatch):
    """On the mean over 200 sets of them; the prior's part is the same in all."""
    pot, rule = build()
    assert len(rule.points) > 100
    exact = FisherCoordinates(pot, rule, N).factors[0][0]
    monkeypatch.setattr(fisher, "INFORMATION_POINTS", 100)
    sets = [FisherCoordinates(pot, rule, N).factors[0][0] for _ in range(200)]
    both = torch.linalg.solve_triangular(exact, torch.cat(sets, -1), upper=False) / 200**0.5
    scales = torch.linalg.svdvals(both)  # 20,000 draws of 35 scores: within 4 % if normal
    torch.testing.assert_close(scales, torch.ones_like(scales), rtol=0, atol=0.15)


def test_more_parameters_than_are_taken_together(monkeypatch):
    monkeypatch.setattr(fisher, "WIDEST", 10)
    pot, rule = build()
    there, x = FisherCoordinates(pot, rule, N), torch.linspace(-2, 2, 9).double()[:, None]
    assert [factor.shape for factor in there.factors[0]] == [(2, 10, 10)] * 3 + [(2, 5, 5)]
    torch.testing.assert_close(there.potential()(x), pot(x))
    with torch.no_grad():
        there.phi[0].normal_()
    assert bool((there.potential()(x) != pot(x)).any())


def test_each_data_set_has_coordinates_of_its_own():
    pot, rule = build((2,))
    with torch.no_grad():
        pot.network.log_diagonal[1] += 2.0
    rule = LSEDensity(pot).rule
    there, x = FisherCoordinates(pot, rule, N), torch.randn(20, 2, 1).double()
    with torch.no_grad():
        there.phi[0][1].normal_()
    moved = there.potential()(x)
    torch.testing.assert_close(moved[:, 0], pot(x)[:, 0])
    assert bool((moved[:, 1] != pot(x)[:, 1]).any())
