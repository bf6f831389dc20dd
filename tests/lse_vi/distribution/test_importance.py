"""log Z from draws: against known masses and quadrature, in units of its reported error."""

import math

import pytest
import torch

from lse_vi import (
    LSEICNN,
    Envelope,
    LaplaceMixture,
    LSEDensity,
    MomentMixture,
    Quadrature,
    WhitenedICNN,
)

BOX = (-3.0, 2.0)
METHODS = [Quadrature(tolerance=1e-12), LaplaceMixture(500), MomentMixture(500), Envelope(500)]


def name(value):
    return type(value).__name__ if isinstance(value, tuple(map(type, METHODS))) else str(value)


def gaussians(seed, dim, modes, *, batch_shape=(), rho=1.0):
    """A mixture of Gaussians of any covariance, and its log Z."""
    torch.manual_seed(seed)
    pot = LSEICNN(dim, modes, hidden=(), rho=rho, batch_shape=batch_shape, network=WhitenedICNN)
    with torch.no_grad():
        for p in pot.network.parameters():
            p.add_(0.5 * torch.randn_like(p))
        pot.alpha.normal_(2.0, 0.2)
        pot.network.icnn.weight.zero_()
        constant = pot.network.icnn.bias[..., -1]
        log_det = pot.network.log_diagonal.sum(-1)
        log_mass = dim / 2 * math.log(2 * math.pi) - log_det - constant
        log_z = torch.logsumexp(pot.log_gates - math.log(modes) + log_mass, -1)
    return pot, log_z


@pytest.mark.parametrize("method", [LaplaceMixture(100), Envelope(100)], ids=name)
@pytest.mark.parametrize("dim", [1, 3, 10])
def test_gaussian_mixtures_have_no_error(method, dim):
    """Laplace's approximation and the envelope are both exact, so every weight is the same."""
    pot, log_z = gaussians(0, dim, 4, batch_shape=(3,))
    q = LSEDensity(pot, method=method)
    torch.testing.assert_close(q.log_normalizer, log_z, rtol=0, atol=1e-10)
    # An envelope's is one over its accepted draws, here all 100: a mode that none of them met.
    error = 0.01 if isinstance(method, Envelope) else 0.0
    torch.testing.assert_close(q.log_normalizer_error, torch.full((3,), error), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "method", [LaplaceMixture(1000), MomentMixture(1000), Envelope(1000)], ids=name
)
@pytest.mark.parametrize("dim", [5, pytest.param(10, marks=pytest.mark.slow)])
def test_errors_are_calibrated(separable, method, dim):
    """z-scores of 100 mixtures of known Z: deviation one, mean zero.

    The deviation of 100 normal draws errs by 0.07, their mean by 0.1: bands of three and a half.
    """
    known = separable(dim, dim, batch_shape=(100,))
    q = LSEDensity(known.potential, method=method)
    z = (q.log_normalizer - known.log_normalizer) / q.log_normalizer_error
    assert 0.8 < z.std() < 1.25
    assert z.mean().abs() < 0.35
    assert q.log_normalizer_error.max() < 0.1  # 0.06 for the envelope in ten dimensions


def walled(dim, seed):
    """A mode with a wall on one side of each of ``dim`` oblique axes, and a spare one far off."""
    torch.manual_seed(seed)
    pot = LSEICNN(dim, 2, hidden=(dim,), rho=1.0, network=WhitenedICNN)
    network = pot.network
    with torch.no_grad():
        network.log_diagonal[0] = -math.log(3.0)  # a frame three times as wide as the mode
        network.icnn.weight[0, :dim] = 60.0 * torch.linalg.qr(torch.randn(dim, dim))[0]
        network.icnn.bias[0, :dim] = 10.0
        network.icnn.raw_inner[0][0] = 8.0
        network.icnn.weight[0, dim] = -4.0 * network.icnn.weight[0, :dim].sum(0) / 60.0
        network.loc[1] = 40.0
        network.icnn.bias[1, -1] = 60.0
    return pot.requires_grad_(False)


@pytest.mark.parametrize("dim", [3, 4])
def test_moments_fit_modes_with_steep_walls(dim):
    """The minimum is in a corner, where Laplace's approximation knows nothing of the mode."""
    pot = walled(dim, seed=dim)
    exact = LaplaceMixture(2**19, sobol=True).rule(pot, None)
    counted = {}
    for method in (LaplaceMixture(), MomentMixture()):
        rule = method.rule(pot, None)
        counted[type(method)] = 1 / float(rule.probabilities(pot).square().sum()) / 8192
        error = torch.hypot(rule.error, exact.error)
        assert (rule.log_normalizer(pot) - exact.log_normalizer(pot)).abs() < 4.5 * error
    assert counted[MomentMixture] > 0.1
    assert counted[MomentMixture] > 10 * counted[LaplaceMixture]


@pytest.mark.parametrize(
    "method", [LaplaceMixture(5000), MomentMixture(5000), Envelope(5000)], ids=name
)
@pytest.mark.parametrize("rho", [0.5, 2.0])
@pytest.mark.parametrize(("dim", "bounds"), [(1, None), (1, BOX), (2, BOX)])
def test_samples_agree_with_quadrature(random_potential, estimate, method, rho, dim, bounds):
    """For any sharpness, on a box too: log Z and the masses of three modes of ten potentials.

    Of 40 normal deviates the largest is below 4.5 but for one seed in 4,000. A standard error of a
    mass is 0.004 to 0.013.
    """
    pot = random_potential(5, dim, network=WhitenedICNN, rho=rho, batch_shape=(10,))
    sampled, exact = LSEDensity(pot, bounds, method=method), LSEDensity(pot, bounds)
    z = (sampled.log_normalizer - exact.log_normalizer) / sampled.log_normalizer_error
    assert z.abs().max() < 4.5
    with torch.no_grad():
        masses, error = estimate(sampled, pot.responsibilities(sampled.rule.points))
    torch.testing.assert_close(sampled.mode_weights, masses)
    assert error.max() < 0.02
    assert ((masses - exact.mode_weights) / error).abs().max() < 4.5
