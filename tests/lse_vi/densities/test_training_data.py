"""Points held out, and batches of the others."""

import numpy as np
import pytest
import torch

from lse_vi import fit_density
from lse_vi.densities.data_source import Points
from lse_vi.densities.training_data import FitData

QUICK = {"modes": 3, "steps": 150, "restarts": 1, "hidden": (4,), "progress": False}


def two_modes(n, dim, rng):
    """A third of the mass in a narrow mode, the rest in a wide one."""
    low = rng.random((n, 1)) < 1 / 3
    x = np.where(low, 0.5, 1.0) * rng.standard_normal((n, dim)) - 6 * low
    return x.astype(np.float32)


def test_held_out_points_are_not_trained_on():
    x = torch.arange(1000.0).unsqueeze(-1)
    data = FitData.split(Points.of("x", x), n_test=100, batch_size=64, dtype=torch.float32)
    seen = {round(float(v), 6) for _ in range(200) for v in data.draw()[0]}
    assert seen.isdisjoint({round(float(v), 6) for v in data.test})
    assert len(seen) == 900


@pytest.mark.slow
def test_batches_reach_what_all_points_at_once_reach():
    x = two_modes(20_000, 2, np.random.default_rng(1)).astype(float)
    whole = fit_density(x, **QUICK)
    batches = fit_density(x, batch_size=2000, **QUICK)
    assert int(whole.active_modes) == int(batches.active_modes) == 2
    gap = float(whole.log_likelihood - batches.log_likelihood)
    assert abs(gap) < 0.02  # nats per point
