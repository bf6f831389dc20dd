"""The wells study: one seed and small networks in every run, whole and on target when slow."""

import json

import numpy as np
import pytest

from data_gen import wells
from models import wells as study
from models.command import save


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    out = tmp_path_factory.mktemp("wells")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "HIDDEN", (5,))
        return save(study.run(seed=3, out=out, seeds=1), out), out


def test_metrics_hold_what_others_read(quick):
    metrics, out = quick
    assert list(metrics["wells"]) == ["double", "modulated", "minimum"]
    for one in metrics["wells"].values():
        assert all(len(one[key]) == 1 for key in ("rmse_rel", "minima", "active_modes"))
        assert max(one["rmse_rel"]) < 0.02
    assert [one["minima"] for one in metrics["wells"].values()] == [[2], [4], [3]]
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert "1 seeds" in study.table(metrics)


def test_figures_are_there(quick):
    _, out = quick
    assert all((out / f"figure{i}.png").stat().st_size > 20_000 for i in range(1, 5))


def test_counts_are_readable():
    assert study._counts([4, 4, 4]) == "4"
    assert study._counts([4, 6, 4]) == "4 x2, 6 x1"


@pytest.mark.slow
def test_targets_over_ten_seeds(tmp_path):
    metrics = study.run(seed=50, out=tmp_path)
    expected = {"double": (2, {2}), "modulated": (4, {4, 6}), "minimum": (3, {3})}
    for truth in wells.TRUTHS:
        one, (minima, modes) = metrics["wells"][truth.name], expected[truth.name]
        assert one["minima"] == [minima] * 10
        assert max(one["rmse_rel"]) <= 0.01
        most = max(modes, key=one["active_modes"].count)
        assert np.mean(np.array(one["active_modes"]) == most) >= 0.9
