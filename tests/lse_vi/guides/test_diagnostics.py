"""Importance weights judge a guide."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import AutoLSEICNN
from lse_vi.guides.diagnostics import importance


def test_weights_that_are_all_zero_are_no_perfect_fit():
    def model():
        pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("never", torch.tensor(-torch.inf))

    guide = AutoLSEICNN(model, modes=1)
    guide()
    with pytest.raises(ValueError, match="minus infinity at all 100 draws of the guide"):
        importance(guide.get_posterior(), guide.log_joint(), samples=100)
