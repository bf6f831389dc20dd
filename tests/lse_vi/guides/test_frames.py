"""The frames in which a guide is trained."""

import pytest
import torch

from lse_vi import WhitenedICNN
from lse_vi.guides.frames import AveragedAdam, StartingFrames
from lse_vi.guides.training import GuideRecipe


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_a_step_means_the_same_for_a_mode_of_any_width(random_potential, scale):
    """Moved by the same step in its frame, a mode of another width is the same mode, scaled."""
    x = torch.randn(30, 2)
    values = []
    for factor in (1.0, scale):
        pot = random_potential(0, 2, rho=1.0, network=WhitenedICNN)
        pot.network.compose_affine_(torch.zeros(2), torch.full((2,), factor))
        frames = StartingFrames(pot)
        torch.testing.assert_close(frames.potential()(factor * x), pot(factor * x))
        torch.manual_seed(1)
        with torch.no_grad():
            for p in frames.parameters():
                p.add_(0.1 * torch.randn_like(p))
        frames.write_()
        values.append(pot(factor * x))
        torch.testing.assert_close(frames.potential()(factor * x), values[-1])
    torch.testing.assert_close(values[1], values[0], rtol=1e-6, atol=1e-6)


def test_the_mean_of_the_steps_is_nearer_than_the_steps():
    """Noisy gradients of a quadratic, at the rate of a training: the mean has less of the noise."""
    torch.manual_seed(0)
    moving, mean = (torch.nn.ParameterList([torch.zeros(1000)]) for _ in range(2))
    adam = AveragedAdam(moving, mean)
    for _ in range(400):
        moving[0].grad = moving[0].detach() - 1.0 + torch.randn(1000)
        adam.step(GuideRecipe().learning_rate)
    one, last = (float((each[0].detach() - 1.0).square().mean()) for each in (mean, moving))
    assert one < last < 0.1


def test_adam_goes_on_from_its_state_as_if_it_had_not_stopped():
    """A state taken in the midst of the steps, loaded elsewhere, gives the same later steps."""
    start = torch.randn(5)
    runs = []
    for stop in (False, True):
        moving, mean = (torch.nn.ParameterList([start.clone()]) for _ in range(2))
        adam = AveragedAdam(moving, mean)
        for step in range(20):
            if stop and step == 10:
                state = adam.state_dict()
                moving[0].data.fill_(3.0)
                adam = AveragedAdam(moving, mean)
                adam.load_state_dict(state)
            moving[0].grad = moving[0].detach() ** 3
            adam.step(0.1)
        runs.append(torch.cat([moving[0], mean[0]]))
    assert torch.equal(*runs)
