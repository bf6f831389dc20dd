"""Climbs to the peaks of a log joint."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import AutoLSEICNN
from lse_vi.guides.peak_search import climb


def test_climbs_go_with_their_starts_where_some_have_no_log_joint():
    """The summits are -3 and 3; where x < -4 or x > 4 there is no density."""

    def model():
        x = pyro.sample("x", dist.Normal(0.0, 10.0).mask(False))
        pyro.factor("wells", torch.where(x.abs() < 4, -((x.abs() - 3) ** 2), -torch.inf))

    guide = AutoLSEICNN(model, modes=2)
    guide()
    log_joint = guide.log_joint()
    for starts, summits in (
        ([5.0, 2.0, -6.0], [5.0, 3.0, -6.0]),
        ([-2.0, 5.0, 2.0], [-3.0, 5.0, 3.0]),
    ):
        ends = climb(log_joint, torch.tensor(starts).unsqueeze(1)).squeeze(1)
        assert ends.tolist() == pytest.approx(summits, abs=1e-3)
