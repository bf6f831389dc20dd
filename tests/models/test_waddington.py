"""The Waddington study: small in every run, whole and against its targets when slow."""

import json

import pytest
import torch

from data_gen import waddington
from lse_vi import LSEICNN
from models import waddington as study
from models.command import save


def test_a_small_run_finds_the_wells(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "blank", lambda: LSEICNN(2, 3, hidden=(8,)))
    monkeypatch.setattr(study, "POINTS", 150)
    monkeypatch.setattr(study, "STARTS", 100)
    metrics = save(study.run(seed=1, out=tmp_path), tmp_path)
    assert min(metrics["r2_field"]) > 0.99
    assert [len(kinds) for kinds in metrics["stationary_kinds"]] == [1, 3]
    assert max(map(max, metrics["stationary_errors"])) < 0.1
    assert metrics["basin_accuracy"] > 0.9
    assert metrics["split_time"] == pytest.approx(waddington.SPLIT_TIME, rel=0.15)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert all((tmp_path / f"figure{i}.png").stat().st_size > 20_000 for i in (12, 13))
    assert "right basin" in study.table(metrics)


def test_a_missing_point_is_infinitely_far():
    class Bowl:
        """One minimum at (0.4056, 1.5440)."""

        dim, center = 2, torch.tensor([0.4056, 1.5440])

        def __call__(self, x):
            return 0.5 * self.gradient(x).square().sum(-1)

        def gradient(self, x):
            return x - self.center.to(x)

        def hessian(self, x):
            return torch.eye(2, dtype=x.dtype).expand(*x.shape, 2)

    found = study.stationary_points(Bowl(), study.grid(5))
    errors = study.stationary_errors(found, waddington.TWO_WELLS)
    assert errors[0] == pytest.approx(0.0, abs=1e-4)
    assert errors[1] == float("inf")  # no saddle
    assert errors[2] > 1.0  # the one minimum is far from the second well


@pytest.mark.slow
@pytest.mark.parametrize("seed", [10, 11])
def test_targets(tmp_path, seed):
    metrics = study.run(seed=seed, out=tmp_path)
    assert min(metrics["r2_field"]) >= 0.9999
    assert max(map(max, metrics["stationary_errors"])) <= 0.01
    assert metrics["basin_accuracy"] >= 0.99
    assert metrics["split_time"] == pytest.approx(waddington.SPLIT_TIME, rel=0.05)
