"""The support of a density: a box, or all of space."""

import math

import pytest
import torch

from lse_vi import ICNN, LSEICNN, LSEDensity, WhitenedICNN

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
