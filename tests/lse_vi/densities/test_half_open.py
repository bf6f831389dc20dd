"""Fits on a half line: waiting times, whose density is highest at the wall."""

import numpy as np
import pytest
import torch

from lse_vi import fit_density
from lse_vi.plots import plot_density


def test_exponential_waiting_times_have_their_density_at_the_wall():
    """Over seeds: one set of 1,000 gives the density at 0 with an error of 4 %."""
    at_wall = []
    for seed in range(3):
        x = np.random.default_rng(seed).exponential(3.0, 1000)
        res = fit_density(x, bounds=(0, None), modes=1, held_out=0.0, restarts=1, progress=False)
        assert int(res.active_modes) == int(res.peaks) == 1
        at_wall.append(3.0 * float(res.density.log_prob(torch.zeros(1, 1)).exp()))
        total = np.trapezoid(
            res.density.log_prob(torch.linspace(0, 60, 3001).unsqueeze(-1)).exp(), dx=0.02
        )
        assert total == pytest.approx(1.0, abs=1e-3)
    assert np.mean(at_wall) == pytest.approx(1.0, abs=0.05)
    ax = plot_density(res, x)
    assert ax.get_xlim()[0] == pytest.approx(0.0, abs=1.5)


def test_data_behind_the_wall_are_refused():
    with pytest.raises(ValueError, match="bounds: 1 of the 40 points lie outside"):
        fit_density(np.arange(40.0) - 0.5, bounds=(0, None), progress=False)
