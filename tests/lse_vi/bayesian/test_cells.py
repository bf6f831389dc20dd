"""Many points in cells: the posterior and the evidence are those of all points."""

import numpy as np
import pandas as pd
import pytest
import torch

from lse_vi import count_modes, fit_posterior
from lse_vi.bayesian import model as models
from lse_vi.bayesian.model import BayesianDensity
from lse_vi.plots import plot_posterior

QUICK = {"modes": 2, "draws": 100, "progress": False, "hidden": ()}


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.standard_normal(1500), rng.normal(4, 0.5, 1500)])


def test_the_likelihood_of_pairs_is_nearly_that_of_the_points(points):
    whole = BayesianDensity(points, modes=2)
    cells = whole.gathered()
    assert len(cells.x) < 200
    assert cells.points == pytest.approx(3000)
    assert whole.points == 3000
    theta = whole.starts(4)
    gap = whole.unit_log_joint(theta) - cells.unit_log_joint(theta)
    assert float(gap.abs().max()) < 0.05
    few = BayesianDensity(points[:20], modes=2)
    assert few.gathered() is few


def test_counts_are_gathered_as_repeated_points_are(points):
    counts = torch.arange(300) % 4
    one = BayesianDensity(points[::10], modes=2, weights=counts).gathered()
    many = BayesianDensity(np.repeat(points[::10], counts.numpy()), modes=2).gathered()
    torch.testing.assert_close(one.x, many.x)
    torch.testing.assert_close(one.weights, many.weights)


def test_in_the_plane_many_points_are_gathered(monkeypatch):
    monkeypatch.setattr(models, "CELLS", {2: 20})
    model = BayesianDensity(torch.randn(300, 2), modes=1)
    assert 20 <= len(model.gathered().x) <= 40
    small = BayesianDensity(torch.randn(80, 2), modes=1)
    assert small.gathered() is small


def test_the_evidence_is_that_of_all_points(points, monkeypatch):
    """Wide cells on purpose: what they change is corrected, and said."""
    some = points[::8]
    monkeypatch.setattr(models, "WORTH_IT", 0.0)
    exact = fit_posterior(some, **QUICK)
    monkeypatch.setattr(models, "WORTH_IT", 0.75)
    monkeypatch.setattr(models, "PAIR_WIDTH", 0.5)
    near = fit_posterior(some, **QUICK)
    error = np.hypot(near.evidence.error, exact.evidence.error)
    gap = near.evidence.log_evidence - exact.evidence.log_evidence
    assert abs(gap) < 4.5 * error
    assert 0.01 < near.gathered.spread < 1.0
    assert "375 points were gathered in" in str(near)
    assert exact.gathered is None
    assert len(near.model.x) == 375


def test_what_changes_nothing_is_not_said(points):
    near = fit_posterior(points[::8], **QUICK)
    assert near.gathered.spread < 0.01
    assert "gathered" not in str(near)


def test_a_table_is_taken_with_its_names_and_weights():
    table = pd.DataFrame({"size": torch.randn(40).numpy(), "count": 1 + np.arange(40) % 3})
    table.loc[3, "size"] = np.nan
    one = {**QUICK, "modes": 1}
    count = count_modes(table, value="size", weights="count", **one)
    assert count.best.model.points == table["count"].sum() - table["count"][3]
    assert plot_posterior(count).get_xlabel() == "size"
    with pytest.raises(ValueError, match="there is no column 'siz'"):
        fit_posterior(table, value="siz", **one)
