"""Rates from paths."""

import pytest
import torch

from lse_vi import rates_from_trajectories


@pytest.mark.parametrize(("noise", "error"), [(0.0, 1e-3), (0.01, 0.15)])
def test_rates_from_paths(noise, error):
    """Of an oscillation, whose rates are known: relative error below a bound."""
    t, phase = torch.linspace(0, 6, 121), torch.rand(20, 1) * 6
    paths = torch.sin(t.reshape(-1, 1, 1) + phase)
    x, rates = rates_from_trajectories(t, paths + noise * torch.randn_like(paths))
    exact = torch.cos(t[2:-2].reshape(-1, 1, 1) + phase).reshape(-1, 1)
    assert x.shape == rates.shape == exact.shape
    assert float((rates - exact).square().mean().sqrt()) < error


def test_bad_paths_are_named():
    with pytest.raises(ValueError, match="at least nine"):
        rates_from_trajectories([0.0, 1.0, 2.0], torch.zeros(3, 1, 1))
    with pytest.raises(ValueError, match="paths must have shape"):
        rates_from_trajectories(torch.arange(10.0), torch.zeros(9, 1, 1))
