"""The mechanochemistry study: small in every run, whole and against its targets when slow."""

import json

import pytest

from models import mechanochemistry as study
from models.command import save


def test_a_small_run_gives_all_metrics_and_figures(tmp_path, monkeypatch):
    for name, value in {"TRAIN": 200, "HIDDEN": (4,)}.items():
        monkeypatch.setattr(study, name, value)
    metrics = save(study.run(seed=1, out=tmp_path, modes=2, steps=12), tmp_path)
    assert len(metrics["r2_gradient"]) == 7
    assert metrics["r2_potential"] > 0.5
    assert {"r2_path_in_range", "r2_path_beyond", "seconds"} <= set(metrics)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert all((tmp_path / f"figure{i}.png").stat().st_size > 20_000 for i in (5, 6, 7))
    assert "dPsi/dE11" in study.table(metrics)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [10, 11, 12])
def test_targets(tmp_path, seed):
    metrics = study.run(seed=seed, out=tmp_path)
    assert min(metrics["r2_gradient"]) >= 0.998
    assert metrics["r2_potential"] >= 0.999
    assert metrics["r2_path_in_range"] >= 0.99


@pytest.mark.slow
def test_a_larger_network_comes_closer(tmp_path):
    metrics = study.run(seed=10, out=tmp_path, modes=8, steps=60)
    assert min(metrics["r2_gradient"]) >= 0.9995
