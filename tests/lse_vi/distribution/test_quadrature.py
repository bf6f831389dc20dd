"""log Z: against integrals of our own, known masses, its reported error, and its gradient."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lse_vi import (
    ICNN,
    LSEICNN,
    Envelope,
    LaplaceMixture,
    LSEDensity,
    MomentMixture,
    Quadrature,
    WhitenedICNN,
)

SEEDS = st.integers(0, 2**32 - 1)
HIDDEN = st.sampled_from([(), (5,), (8, 8)])
BOX = (-3.0, 2.0)
CASES = [(ICNN, BOX), (WhitenedICNN, BOX), (WhitenedICNN, None)]
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


# -- in one and two dimensions --------------------------------------------------------------------


@pytest.fixture(scope="session")
def own_log_normalizer(simpson_grid, window):
    """Simpson's rule for each density of a batch, one at a time."""

    def of(q):
        values = []
        for i in range(q.batch_shape[0]):
            one = q.potential.select(i)
            low, high = window(LSEDensity(one, q.box))
            points, weights = simpson_grid(low, high, 40_000 if one.dim == 1 else 400)
            with torch.no_grad():
                values.append(torch.logsumexp(weights.log() - one(points), 0))
        return torch.stack(values)

    return of


@pytest.mark.parametrize(("network", "bounds"), CASES)
@settings(deadline=None, max_examples=12)
@given(seed=SEEDS, hidden=HIDDEN, rho=st.sampled_from([0.05, 0.5, 1.0, 2.0, 30.0]))
def test_one_dimension(random_potential, own_log_normalizer, network, bounds, seed, hidden, rho):
    """3 x 12 batches of three potentials: Z to 1e-6, and the reported error bounds the true one."""
    pot = random_potential(seed, 1, network=network, hidden=hidden, rho=rho, batch_shape=(3,))
    q = LSEDensity(pot, bounds)
    error = (q.log_normalizer - own_log_normalizer(q)).abs()
    assert error.max() < 1e-6
    assert (error <= q.log_normalizer_error + 1e-8).all()  # ours errs by 1e-8 as well


@pytest.mark.parametrize(("network", "bounds"), CASES)
@settings(deadline=None, max_examples=10)
@given(seed=SEEDS, hidden=HIDDEN)
def test_two_dimensions(random_potential, own_log_normalizer, network, bounds, seed, hidden):
    """3 x 10 batches of three mixtures of log-concave densities (rho = 1): Z to 1e-4."""
    options = {"hidden": hidden, "rho": 1.0, "batch_shape": (3,), "spread": 0.3}
    pot = random_potential(seed, 2, network=network, **options)
    q = LSEDensity(pot, bounds)
    error = (q.log_normalizer - own_log_normalizer(q)).abs()
    assert error.max() < 1e-4


@pytest.mark.parametrize("rho", [0.3, 3.0])
@pytest.mark.parametrize(("network", "bounds"), CASES)
def test_two_dimensions_any_sharpness(random_potential, own_log_normalizer, network, bounds, rho):
    pot = random_potential(0, 2, network=network, rho=rho, batch_shape=(2,), spread=0.3)
    q = LSEDensity(pot, bounds)
    error = (q.log_normalizer - own_log_normalizer(q)).abs()
    assert error.max() < 1e-4


@pytest.mark.parametrize(("rho", "half_distance"), [(0.05, 4.0), (0.05, 30.0), (0.005, 13.0)])
def test_blunt_potentials_reach_far_from_their_modes(simpson_grid, rho, half_distance):
    """For rho a^2 < 1 the wells merge halfway, which may be far in the tails of every mode."""
    pot = LSEICNN(1, 2, hidden=(), rho=rho, network=WhitenedICNN)
    with torch.no_grad():
        pot.network.loc.copy_(half_distance * torch.tensor([[-1.0], [1.0]]))
    points, weights = simpson_grid(-60.0, 60.0, 20_000)
    own = torch.logsumexp(weights.log() - pot(points), 0)
    torch.testing.assert_close(LSEDensity(pot).log_normalizer, own, rtol=0, atol=1e-6)


@given(width=st.floats(1e-4, 1.0), center=st.floats(-4.0, 4.0), share=st.floats(1e-3, 0.999))
@settings(deadline=None, max_examples=60)
def test_a_narrow_mode_beside_a_wide_one(width, center, share):
    """However narrow a mode in the box: Z is right, or the reported error says that it is not."""
    pot = LSEICNN(1, 2, hidden=(), rho=1.0, network=WhitenedICNN)
    with torch.no_grad():
        pot.network.loc[1] = center
        pot.network.loc[0] = 0.0
        pot.network.log_diagonal[1] = -math.log(width)
        pot.network.icnn.bias[1] = math.log(width) - math.log(share)
        pot.network.icnn.bias[0] = -math.log(1 - share)
    exact = LSEDensity(pot).log_normalizer  # the box cuts 6e-5 of the wide mode, if it is centred
    for method in (Quadrature(), Quadrature(max_nodes=2000), Envelope(4000)):
        q = LSEDensity(pot, (-12.0, 12.0), method=method)
        slack = 4.5 if isinstance(method, Envelope) else 1.0  # one error is one deviation there
        assert (q.log_normalizer - exact).abs() <= slack * q.log_normalizer_error + 1e-8


# -- known masses in any dimension ----------------------------------------------------------------


@pytest.mark.parametrize("method", [LaplaceMixture(100), Envelope(100)], ids=name)
@pytest.mark.parametrize("dim", [1, 3, 10])
def test_gaussian_mixtures_have_no_error(method, dim):
    """Laplace's approximation and the envelope are both exact, so every weight is the same."""
    pot, log_z = gaussians(0, dim, 4, batch_shape=(3,))
    q = LSEDensity(pot, method=method)
    torch.testing.assert_close(q.log_normalizer, log_z, rtol=0, atol=1e-10)
    assert q.log_normalizer_error.max() < 2e-2 if isinstance(method, Envelope) else 1e-10


@pytest.mark.parametrize(
    "method", [LaplaceMixture(1000), MomentMixture(1000), Envelope(1000)], ids=name
)
@pytest.mark.parametrize("dim", [5, 10])
def test_errors_are_calibrated(separable, method, dim):
    """z-scores of 100 mixtures of known Z: deviation one, mean zero.

    The deviation of 100 normal draws errs by 0.07, their mean by 0.1: bands of three and a half.
    """
    known = separable(dim, dim, batch_shape=(100,))
    q = LSEDensity(known.potential, method=method)
    z = (q.log_normalizer - known.log_normalizer) / q.log_normalizer_error
    assert 0.8 < z.std() < 1.25
    assert z.mean().abs() < 0.35
    assert q.log_normalizer_error.max() < 0.2


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


@pytest.mark.parametrize("dim", [2, 5])
def test_ill_conditioned_frames(separable, dim):
    """A frame of condition 1e6 costs nothing: all integration happens inside it."""
    known = separable(0, dim, condition=1e6)
    q = LSEDensity(known.potential)
    error = (q.log_normalizer - known.log_normalizer).abs()
    assert error < (1e-7 if dim == 2 else 4 * q.log_normalizer_error)
    assert q.log_normalizer_error < 0.02


@pytest.mark.parametrize(
    "method", [LaplaceMixture(5000), MomentMixture(5000), Envelope(5000)], ids=name
)
@pytest.mark.parametrize("rho", [0.5, 2.0])
@pytest.mark.parametrize(("dim", "bounds"), [(1, None), (1, BOX), (2, BOX)])
def test_samples_agree_with_quadrature(random_potential, method, rho, dim, bounds):
    """For any sharpness, on a box too: 10 comparisons, each within four and a half deviations."""
    pot = random_potential(5, dim, network=WhitenedICNN, rho=rho, batch_shape=(10,))
    sampled, exact = LSEDensity(pot, bounds, method=method), LSEDensity(pot, bounds)
    z = (sampled.log_normalizer - exact.log_normalizer) / sampled.log_normalizer_error
    assert z.abs().max() < 4.5
    torch.testing.assert_close(sampled.mode_weights, exact.mode_weights, rtol=0, atol=0.1)


# -- gradients ------------------------------------------------------------------------------------


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
    "method", [LaplaceMixture(4000), MomentMixture(4000), Envelope(4000)], ids=name
)
def test_sampled_gradients_are_those_of_quadrature(random_potential, method):
    """d log Z = -E_q[dE] from 4,000 draws: errors below a fifth of the norm of the exact one."""
    pot = random_potential(0, 2, network=WhitenedICNN, rho=1.0)

    def gradient(q):
        parts = torch.autograd.grad(q.log_normalizer, list(pot.parameters()))
        return torch.cat([p.flatten() for p in parts])

    exact = gradient(LSEDensity(pot))
    sampled = gradient(LSEDensity(pot, method=method))
    assert (sampled - exact).norm() < 0.2 * exact.norm()


# -- what a rule is -------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "bounds"), CASES)
def test_float32_takes_no_more_nodes(random_potential, network, bounds):
    """Doubling stops at the rounding error of the potential's own dtype."""
    pot = random_potential(0, 2, network=network, rho=1.0)
    single = random_potential(0, 2, network=network, rho=1.0, dtype=torch.float32)
    single.load_state_dict(pot.state_dict())
    fine, coarse = LSEDensity(pot, bounds), LSEDensity(single, bounds)
    assert coarse.log_normalizer.dtype == coarse.log_normalizer_error.dtype == torch.float32
    assert len(coarse.rule.points) <= len(fine.rule.points)
    torch.testing.assert_close(
        coarse.log_normalizer.double(), fine.log_normalizer, rtol=0, atol=1e-5
    )


def test_quadrature_stops_at_its_largest_rule(random_potential):
    pot = random_potential(0, 2, network=WhitenedICNN, rho=30.0)
    method = Quadrature(tolerance=1e-15, max_nodes=60_000)
    q = LSEDensity(pot, method=method)
    assert len(q.rule.points) <= 60_000
    exact = LSEDensity(pot, method=Quadrature(max_nodes=800_000)).log_normalizer
    assert (q.log_normalizer - exact).abs() <= q.log_normalizer_error


def test_probabilities_of_a_rule_sum_to_one(random_potential):
    pot = random_potential(0, 3, network=WhitenedICNN, batch_shape=(2,), rho=1.0)
    q = LSEDensity(pot)
    ones = torch.ones(2)
    torch.testing.assert_close(q.rule.probabilities(pot).sum(0), ones, rtol=1e-12, atol=0)
    torch.testing.assert_close(q.mode_weights.sum(-1), ones, rtol=1e-12, atol=0)
    assert np.prod(q.rule.points.shape) == 8192 * 2 * 3
