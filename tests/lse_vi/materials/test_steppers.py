"""Steps through time: their order, and what they keep."""

import math

import pytest
import torch

from lse_vi.materials.grids import EvenSteps
from lse_vi.materials.steppers import Euler, Exponential, Heun

TIMES, PATHS, STATES = 9, 4, 3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("stepper", "order"), [(Euler(), 1), (Exponential(), 1), (Heun(), 2)])
def test_steppers_converge_at_their_order(stepper, order, seed, strains, relaxing):
    """On a straight path, halving the steps divides the error by 2^order."""
    torch.manual_seed(seed)
    strain = strains(times=2, scale=0.05)  # short: no step is near stiff
    model = relaxing(stepper=stepper)
    ends = []
    for n in (64, 128, 2048):
        model.steps = EvenSteps(float((strain[1] - strain[0]).norm()) / n)
        ends.append(model(strain).state[-1].detach())
    coarse, fine, exact = ends
    ratio = float((coarse - exact).norm() / (fine - exact).norm())
    assert math.log2(ratio) == pytest.approx(order, abs=0.1)


def test_the_exponential_step_is_exact_for_constant_speed_and_target():
    class Constant:
        def relaxation(self, h, drive):
            return torch.full_like(h, 50.0), torch.full_like(h, 2.0)

    h = torch.zeros(1)
    for ds in (0.01, 0.02):
        h = Exponential()(Constant(), h, None, None, torch.tensor([ds]))
    torch.testing.assert_close(h, 2.0 * (1 - torch.exp(torch.tensor([-1.5]))))


@pytest.mark.parametrize("stepper", [Euler(), Heun(), Exponential()])
def test_states_rest_within_their_interval_and_a_loop_there_closes(stepper, strains, relaxing):
    """Zero, not nearly zero: stress depends on strain alone, on random paths of full strain."""
    model = relaxing(stepper=stepper)
    with torch.no_grad():
        model.rate.head.bias[2 * STATES :] = 50.0  # half-widths
    there = strains(PATHS)
    there = there - there[:, :1]
    response = model(torch.cat([there, there.flip(1)], dim=1))
    assert not bool(response.state.any())
    torch.testing.assert_close(response.stress, response.stress.flip(1))
