"""Many points in cells: the posterior and the evidence are those of all points."""

import numpy as np
import pandas as pd
import pytest
import torch

from lse_vi import count_modes, fit_posterior
from lse_vi.bayesian import model as models
from lse_vi.bayesian.model import BayesianDensity
from lse_vi.plots import plot_posterior

QUICK = {"modes": 2, "guide": "laplace", "draws": 100, "progress": False, "hidden": ()}


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.standard_normal(1500), rng.normal(4, 0.5, 1500)])


def test_the_likelihood_of_cells_is_nearly_that_of_the_points(points):
    whole = BayesianDensity(points, modes=2)
    cells = whole.gathered()
    assert 512 <= len(cells.x) <= 1024
    assert cells.points == pytest.approx(3000)
    theta = whole.starts(4)
    gap = whole.unit_log_joint(theta) - cells.unit_log_joint(theta)
    assert float(gap.abs().max()) < 2.0
    assert whole.gathered() is not whole
    assert BayesianDensity(points[:2000], modes=2).gathered().x.shape == (2000, 1)


def test_the_evidence_is_that_of_all_points(points, monkeypatch):
    some = points[::8]
    exact = fit_posterior(some, **QUICK)
    monkeypatch.setattr(models, "CELLS", {1: 64})
    near = fit_posterior(some, **QUICK)
    error = np.hypot(near.evidence.error, exact.evidence.error)
    gap = near.evidence.log_evidence - exact.evidence.log_evidence
    assert abs(gap) < 4.5 * error
    assert near.gathered.spread < 1.0  # with 64 cells only
    assert "375 points were gathered in" in str(near)
    assert exact.gathered is None
    assert len(near.model.x) == 375


def test_a_table_is_taken_with_its_names_and_weights():
    table = pd.DataFrame({"size": torch.randn(40).numpy(), "count": 1 + np.arange(40) % 3})
    table.loc[3, "size"] = np.nan
    one = {**QUICK, "modes": 1}
    count = count_modes(table, value="size", weights="count", **one)
    assert count.best.model.points == table["count"].sum() - table["count"][3]
    assert plot_posterior(count).get_xlabel() == "size"
    with pytest.raises(ValueError, match="there is no column 'siz'"):
        fit_posterior(table, value="siz", **one)
