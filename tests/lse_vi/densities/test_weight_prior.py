"""The prior of a fit: normal for widths of modes, heavy tails for their places and shapes."""

import math

import pyro.distributions as dist
import pytest
import torch

from lse_vi import ICNN, LSEICNN, WhitenedICNN
from lse_vi.densities.weight_prior import log_prior, prior_moments, prior_weights

LAWS = {  # of a potential of standardised data; hidden=(4, 3)
    "network.icnn.weight": lambda: dist.StudentT(2.0, 0.0, 10.0),
    "network.icnn.bias": lambda: dist.StudentT(2.0, 0.0, 10.0),
    "network.icnn.raw_inner.0": lambda: dist.StudentT(2.0, 0.5, 2.0),
    "network.icnn.raw_inner.1": lambda: dist.StudentT(2.0, 2.0, 4.0),
    "network.loc": lambda: dist.StudentT(2.0, 0.0, 3.0),
    "network.log_diagonal": lambda: dist.Normal(1.0, 1.5),
    "network.off_diagonal": lambda: dist.Normal(0.0, 3.0),
    "alpha": lambda: dist.Normal(1.0, 1.0),
    "log_rho": lambda: dist.Normal(-3.0, 1.5),
}
PLAIN = {  # modes without a frame: slopes carry the width
    "network.weight": lambda: dist.StudentT(2.0, 0.0, 50.0),
    "network.bias": lambda: dist.StudentT(2.0, 0.0, 50.0),
    "network.raw_inner.0": LAWS["network.icnn.raw_inner.0"],
    "network.raw_inner.1": LAWS["network.icnn.raw_inner.1"],
    "alpha": LAWS["alpha"],
    "log_rho": LAWS["log_rho"],
}


def wide_potential(network):
    """Parameters far out in the tails of all laws, five potentials in a batch."""
    pot = LSEICNN(2, 3, hidden=(4, 3), network=network, batch_shape=(5,))
    with torch.no_grad():
        for p in pot.parameters():
            p.add_(30 * torch.randn_like(p))
    return pot


@pytest.mark.parametrize(("network", "laws"), [(WhitenedICNN, LAWS), (ICNN, PLAIN)])
def test_parameters_are_independent_with_these_laws(network, laws):
    """Up to a constant: what one potential costs more than another is what its parameters do."""
    one, two = wide_potential(network), wide_potential(network)
    expected = torch.zeros(5)
    for name, p in one.named_parameters():
        law, other = laws[name](), two.get_parameter(name)
        expected += (law.log_prob(p) - law.log_prob(other)).detach().reshape(5, -1).sum(-1)
    torch.testing.assert_close(log_prior(one) - log_prior(two), expected)


def test_a_steep_wall_costs_the_logarithm_of_its_slope():
    """Slopes ten times as large, far out, cost 3 log 10 each, and not 99 times their square."""
    pot = wide_potential(WhitenedICNN)
    slopes = 1e4 * (1 + torch.rand(5, 3, 8, 2))
    costs = [
        log_prior(pot.with_parameters({"network.icnn.weight": factor * slopes}))
        for factor in (1.0, 10.0)
    ]
    each = (costs[0] - costs[1]) / slopes[0].numel()
    torch.testing.assert_close(each, torch.full((5,), 3 * math.log(10.0)), rtol=1e-4, atol=0)


def test_the_order_of_the_modes_means_nothing(reorder):
    pot = wide_potential(WhitenedICNN)
    torch.testing.assert_close(log_prior(reorder(pot, [2, 0, 1])), log_prior(pot))


def test_normal_draws_of_it_are_potentials_of_standardised_data():
    """Nine in ten centres within the data, and half of the widths between 0.13 and 1.01."""
    pot = LSEICNN(1, 1000, network=WhitenedICNN)
    moments = prior_moments(pot)
    draws = {name: torch.normal(mean, sd) for name, (mean, sd) in moments.items()}
    assert all(
        mean.shape == p.shape
        for (mean, _), p in zip(moments.values(), pot.parameters(), strict=True)
    )
    within = (draws["network.loc"].abs() < 2.5).double().mean()
    width = (-draws["network.log_diagonal"]).exp()
    assert float(within) == pytest.approx(0.904, abs=4.5 * (0.09 / 1000) ** 0.5)
    narrow = ((width > 0.1338) & (width < 1.0117)).double().mean()
    assert float(narrow) == pytest.approx(0.5, abs=4.5 * (0.25 / 1000) ** 0.5)


@pytest.mark.parametrize("half_open", [False, True])
@pytest.mark.parametrize("network", [WhitenedICNN, ICNN])
def test_parabolas_touch_the_prior_from_below(network, half_open):
    """Of height log p and of its slope where they are made, and nowhere above log p."""
    pot, other = wide_potential(network).double(), wide_potential(network).double()
    weights = prior_weights(pot, half_open=half_open)
    log_prior(pot, half_open=half_open).sum().backward()
    below = torch.zeros(5).double()
    for name, p in pot.named_parameters():
        step = (other.get_parameter(name) - p).detach()
        slope = p.grad * step - 0.5 * weights[name] * step.square()
        below += slope.reshape(5, -1).sum(-1)
    gained = log_prior(other, half_open=half_open) - log_prior(pot, half_open=half_open)
    assert bool((gained >= below - 1e-9 * below.abs()).all())


def test_what_is_not_trained_counts_nothing():
    pot = LSEICNN(1, 2, batch_shape=(3,))
    pot.requires_grad_(False)
    assert torch.equal(log_prior(pot), torch.zeros(3))
    assert prior_weights(pot) == {}
