"""log Z mode by mode is that of the whole density, with its gradient, for a K-th of the work."""

import pytest
import torch

from lse_vi import LSEICNN, Quadrature, WhitenedICNN
from lse_vi.distribution.quadrature import _ModeGrid, mode_rule
from lse_vi.distribution.rule import CARRYING, ONE_PASS, ModeRule

METHOD = Quadrature(tolerance=1e-8)


def mixture(dim, batch, seed):
    """Three modes apart, with units that bend them."""
    torch.manual_seed(seed)
    pot = LSEICNN(dim, 3, rho=1.0, batch_shape=batch, network=WhitenedICNN, dtype=torch.float64)
    with torch.no_grad():
        pot.network.loc.mul_(2.0)
        pot.network.icnn.raw_inner[-1].add_(3.0)
        pot.alpha.add_(torch.randn_like(pot.alpha))
    return pot


@pytest.mark.parametrize("batch", [(), (1,), (2, 3)])
@pytest.mark.parametrize("dim", [1, 2])
def test_it_is_the_rule_of_the_density(dim, batch):
    pot = mixture(dim, batch, seed=dim)
    whole, own = METHOD.rule(pot, None), mode_rule(METHOD, pot)
    x = torch.randn(7, *batch, dim, dtype=torch.float64)
    energies, log_z = own.energies(pot, x)
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(own.log_normalizer(pot), whole.log_normalizer(pot), **close)
    torch.testing.assert_close(log_z, own.log_normalizer(pot), **close)
    torch.testing.assert_close(energies, pot(x), **close)
    torch.testing.assert_close(own.mode_weights(pot), whole.mode_weights(pot), rtol=0, atol=1e-8)
    mean = (own.probabilities(pot).unsqueeze(-1) * own.points).sum(0)
    exact = (whole.probabilities(pot).unsqueeze(-1) * whole.points).sum(0)
    torch.testing.assert_close(mean, exact, rtol=0, atol=1e-10)


def test_many_points_have_the_energies_of_few():
    pot = mixture(1, (1,), seed=4).requires_grad_(False)
    rule, x = mode_rule(METHOD, pot), torch.linspace(-5, 5, ONE_PASS + 1, dtype=torch.float64)
    many, log_z = rule.energies(pot, x[:, None, None])
    few, same = rule.energies(pot, x[:100, None, None])
    torch.testing.assert_close(many[:100], few, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_z, same, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dim", [1, 2])
def test_its_gradient_is_that_of_log_z(dim):
    pot = mixture(dim, (2,), seed=5)
    gradients = []
    for rule in (METHOD.rule(pot, None), mode_rule(METHOD, pot)):
        parameters = [p for name, p in pot.named_parameters() if name != "log_rho"]
        gradients.append(torch.autograd.grad(rule.log_normalizer(pot).sum(), parameters))
    for whole, own in zip(*gradients, strict=True):
        torch.testing.assert_close(own, whole, rtol=1e-8, atol=1e-8)


def test_points_without_mass_are_left_out():
    pot = mixture(2, (), seed=3).requires_grad_(False)
    every = ModeRule(*_ModeGrid(pot, METHOD.tolerance).own_nodes(16), torch.zeros(()))
    carrying = every.carrying(pot)
    assert len(carrying.own_points) < len(every.own_points)
    assert carrying.log_normalizer(pot) == pytest.approx(
        float(every.log_normalizer(pot)), abs=1e-12
    )
    dropped = len(every.points) - len(carrying.points)
    assert every.probabilities(pot).sort().values[:dropped].max() <= CARRYING
