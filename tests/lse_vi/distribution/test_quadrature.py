"""log Z by quadrature: against integrals of our own, known masses, and its reported error."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lse_vi import ICNN, LSEICNN, Envelope, LSEDensity, Quadrature, WhitenedICNN

SEEDS = st.integers(0, 2**32 - 1)
HIDDEN = st.sampled_from([(), (5,), (8, 8)])
BOX = (-3.0, 2.0)
CASES = [(ICNN, BOX), (WhitenedICNN, BOX), (WhitenedICNN, None)]


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


@pytest.mark.parametrize("dim", [2, 5])
def test_ill_conditioned_frames(separable, dim):
    """A frame of condition 1e6 costs nothing: all integration happens inside it."""
    known = separable(0, dim, condition=1e6)
    q = LSEDensity(known.potential)
    error = (q.log_normalizer - known.log_normalizer).abs()
    assert error < (1e-7 if dim == 2 else 4 * q.log_normalizer_error)
    assert q.log_normalizer_error < 0.005  # 0.0018 from 8,192 draws


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


@pytest.mark.parametrize("side", [20.0, 1e3, 1e5, 1e7])
@pytest.mark.parametrize("dim", [1, 2])
def test_a_box_may_be_far_wider_than_the_modes(dim, side):
    """Normals of deviations 1 and 0.01, somewhere in a box: log Z as on all of R^d, and draws."""
    pot = LSEICNN(dim, 2, hidden=(), rho=1.0, network=WhitenedICNN)
    centers, widths = torch.tensor([[0.0] * dim, [3.0, -2.0][:dim]]), torch.tensor([1.0, 0.01])
    pot.network.reset_parameters(centers, torch.diag_embed((1 / widths).expand(dim, 2).mT))
    whole, q = LSEDensity(pot), LSEDensity(pot, (-0.3 * side, 0.7 * side))
    assert q.log_normalizer_error < 1e-7
    cut = 2e-9 * dim if side == 20.0 else 0.0  # six deviations fit on one side of the wide normal
    torch.testing.assert_close(q.log_normalizer, whole.log_normalizer, rtol=0, atol=1e-7 + cut)
    assert len(q.rule.points) < (1_000 if dim == 1 else 100_000)
    narrow = (q.sample((1000,)) - centers[1]).norm(dim=-1) < 0.1
    share = whole.rule.mode_weights(pot)[1]
    assert (
        abs(float(narrow.double().mean() - share))
        < 4.5 * float(share * (1 - share) / 1000) ** 0.5 + 0.01
    )


@pytest.mark.parametrize("side", [20.0, 1e3, 1e5, 1e7])
def test_plain_modes_in_a_wide_box_of_one_dimension(random_potential, side):
    """The mass is where the box of deviations has it, however far the walls."""
    pot = random_potential(0, 1, network=ICNN)
    near, far = LSEDensity(pot, (-500.0, 500.0)), LSEDensity(pot, (-500.0 - side, 500.0 + 2 * side))
    assert far.log_normalizer_error < 1e-7
    assert far.log_normalizer >= near.log_normalizer - 1e-7
    if side > 1e4:
        torch.testing.assert_close(
            far.log_normalizer,
            LSEDensity(pot, (-500.0 - 2 * side, 500.0 + side)).log_normalizer,
            rtol=0,
            atol=1e-6,
        )
