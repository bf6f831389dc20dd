"""The bounds that convexity proves: never crossed, whatever the potential."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lse_vi import ICNN, LSEDensity, WhitenedICNN
from lse_vi.distribution.bounds import GaussianBound, TangentBound
from lse_vi.distribution.box import Box
from lse_vi.distribution.cells import Cells

SEEDS = st.integers(0, 2**32 - 1)
SHARPNESS = st.sampled_from([0.05, 0.5, 1.0, 3.0, 30.0])
HIDDEN = st.sampled_from([(), (5,), (8, 8)])
BATCHES = st.sampled_from([(), (2,), (2, 3)])
STEEPNESS = st.sampled_from([1.0, 10.0, 100.0])


def steepen(pot, factor):
    """Multiply the hidden V: curvatures grow by the square, far beyond those of the frames."""
    with torch.no_grad():
        getattr(pot.network, "icnn", pot.network).weight[..., :-1, :] *= factor
    return pot


@settings(deadline=None, max_examples=100)
@given(
    seed=SEEDS,
    dim=st.integers(1, 6),
    modes=st.integers(1, 5),
    hidden=HIDDEN,
    rho=SHARPNESS,
    batch_shape=BATCHES,
    steepness=STEEPNESS,
)
def test_gaussians_bound_strongly_convex_modes(
    random_potential, seed, dim, modes, hidden, rho, batch_shape, steepness
):
    """log(exp(-E) / bound) <= 0 at 200 proposals, up to rounding."""
    pot = random_potential(
        seed, dim, modes, network=WhitenedICNN, hidden=hidden, rho=rho, batch_shape=batch_shape
    )
    x, log_accept = GaussianBound(steepen(pot, steepness)).propose(200)
    assert x.shape == (200, *batch_shape, dim)
    assert log_accept.shape == (200, *batch_shape)
    scale = 1 + pot.mode_potentials(x).abs().amax()
    assert log_accept.max() <= 1e-9 + 1e-13 * scale


@settings(deadline=None, max_examples=100)
@given(
    seed=SEEDS,
    network=st.sampled_from([ICNN, WhitenedICNN]),
    dim=st.integers(1, 2),
    modes=st.integers(1, 5),
    hidden=HIDDEN,
    rho=SHARPNESS,
    batch_shape=BATCHES,
    steepness=STEEPNESS,
    cells=st.sampled_from([1, 7, 30]),
    middle=st.floats(-10.0, 10.0),
    width=st.sampled_from([0.1, 4.0, 50.0]),
)
def test_tangents_bound_convex_modes_on_a_box(
    random_potential,
    seed,
    network,
    dim,
    modes,
    hidden,
    rho,
    batch_shape,
    steepness,
    cells,
    middle,
    width,
):
    pot = random_potential(
        seed, dim, modes, network=network, hidden=hidden, rho=rho, batch_shape=batch_shape
    )
    box = Box.of((middle - width / 2, middle + width / 2), dim, pot.alpha)
    x, log_accept = TangentBound(steepen(pot, steepness), Cells.of(box, cells)).propose(200)
    assert x.shape == (200, *batch_shape, dim)
    assert box.contains(x).all()
    scale = 1 + rho * pot.mode_potentials(x).abs().amax() / min(rho, 1.0)
    assert log_accept.max() <= 1e-9 + 1e-13 * scale


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
def test_finer_cells_close_in_on_the_potential(random_potential, dim, network):
    """The excess of a tangent bound falls as the square of the cells' width."""
    pot = random_potential(0, dim, network=network)
    box = Box.of((-3.0, 3.0), dim, pot.alpha)
    log_z = LSEDensity(pot, (-3.0, 3.0)).log_normalizer
    excess = [TangentBound(pot, Cells.of(box, n)).log_mass - log_z for n in (16, 32, 64)]
    assert excess[0] > excess[1] > excess[2] > 0
    assert 3.0 < excess[1] / excess[2] < 5.0
