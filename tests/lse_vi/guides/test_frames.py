"""The frames in which a guide is trained."""

import pytest
import torch

from lse_vi import WhitenedICNN
from lse_vi.guides.frames import StartingFrames


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
