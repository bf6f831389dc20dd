"""The support of a density: a box, or all of space."""

import math

import pytest
import torch

from lse_vi import ICNN, LSEICNN, LSEDensity, WhitenedICNN
from lse_vi.distribution import Envelope

BOX = (-3.0, 2.0)


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
def test_nothing_lies_off_the_box(random_potential, network):
    pot = random_potential(0, 2, network=network)
    x = torch.tensor([[0.0, 0.0], [0.0, 2.1], [-3.1, 0.0], [9.0, 9.0]])
    q = LSEDensity(pot, BOX, validate_args=False)
    assert q.log_prob(x).isfinite().tolist() == [True, False, False, False]
    assert (q.log_prob(x[1:]) == -torch.inf).all()
    with pytest.raises(ValueError, match="support"):
        LSEDensity(pot, BOX, validate_args=True).log_prob(x)


def test_bounds_may_differ_by_coordinate(random_potential):
    pot = random_potential(0, 2)
    q = LSEDensity(pot, ([-1.0, 2.0], [0.5, 7.0]))
    x = q.sample((5000,))
    assert (x.amin(0) >= torch.tensor([-1.0, 2.0])).all()
    assert (x.amax(0) <= torch.tensor([0.5, 7.0])).all()
    assert q.support.check(x).all()
    assert LSEDensity(pot, ([-1.0, 2.0], 7)).box.high.tolist() == [7.0, 7.0]


def test_float32_samples_stay_on_the_box():
    """Far from zero, where the spacing of numbers is coarse against the cells."""
    pot = LSEICNN(1, 2, dtype=torch.float32)
    q = LSEDensity(pot, (1000.0, 1001.0))
    assert q.support.check(q.sample((200_000,))).all()


def test_real_vectors_are_the_support_without_bounds(random_potential):
    q = LSEDensity(random_potential(0, 3, network=WhitenedICNN))
    assert q.support is torch.distributions.constraints.real_vector
    with pytest.raises(ValueError, match="support"):
        q.log_prob(torch.tensor([0.0, math.nan, 0.0]))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("dim", "half"), [(3, 0.05), (5, 0.5), (5, 0.2), (5, 1e-3), (8, 0.05)])
def test_a_box_may_be_smaller_than_the_modes_inside(random_potential, dim, half, seed):
    """Against 200,000 draws all over the box, where the density hardly varies."""
    pot = random_potential(seed, dim, 3, network=WhitenedICNN, rho=1.0).requires_grad_(False)
    q = LSEDensity(pot, bounds=(-half, half))
    u = half * (2 * torch.rand(200_000, dim) - 1)
    log_w = -pot(u)
    w = (log_w - log_w.max()).exp()
    exact = float(w.mean().log() + log_w.max()) + dim * math.log(2 * half)
    error = math.hypot(float(q.log_normalizer_error), float(w.std() / w.mean()) / 200_000**0.5)
    assert error < 0.1
    assert abs(float(q.log_normalizer) - exact) < 4 * error
    x = q.sample((2000,))
    mean, spread = (w @ u) / w.sum(), half / math.sqrt(3 * 2000)
    assert float((x.mean(0) - mean).abs().max()) < 5 * spread
    assert bool((x.abs() <= half).all())


def test_a_box_far_from_all_modes_by_the_envelope():
    """In three dimensions, against the midpoint rule with the slope in each cell."""
    pot = LSEICNN(3, 2, network=WhitenedICNN)
    edges = torch.linspace(20.0, 21.0, 61)
    width = edges[1] - edges[0]
    x = torch.cartesian_prod(*[0.5 * (edges[1:] + edges[:-1])] * 3)
    energy, slope = pot.energy_and_gradient(x)
    half = 0.5 * width * slope
    cell = (half.sinh() / half).log().sum(-1)  # of an exponential of this slope
    exact = (cell - energy).logsumexp(0) + 3 * width.log()
    q = LSEDensity(pot, (20.0, 21.0), method=Envelope())
    assert float(q.log_normalizer.detach() - exact.detach()) == pytest.approx(0.0, abs=2e-3)
