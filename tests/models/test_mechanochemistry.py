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


def in_joules_per_cubic_metre(monkeypatch):
    """Energies times 1e9, strains as they are."""
    crystal = study.crystal
    potential, gradient = crystal.potential, crystal.gradient
    monkeypatch.setattr(crystal, "potential", lambda x: 1e9 * potential(x))
    monkeypatch.setattr(crystal, "gradient", lambda x: 1e9 * gradient(x))  # sample calls it too


def same_r2(one, two, rel):
    for name in ("r2_gradient", "r2_potential", "r2_path_in_range", "r2_path_beyond"):
        assert two[name] == pytest.approx(one[name], abs=rel), name
    assert two["rmse_path_in_range"] == pytest.approx(
        1e9 * one["rmse_path_in_range"], rel=1e3 * rel
    )


def test_the_unit_of_energy_does_not_matter(tmp_path, monkeypatch):
    for name, value in {"TRAIN": 200, "HIDDEN": (4,)}.items():
        monkeypatch.setattr(study, name, value)
    one = study.run(seed=1, out=tmp_path, modes=2, steps=6)
    in_joules_per_cubic_metre(monkeypatch)
    same_r2(one, study.run(seed=1, out=tmp_path, modes=2, steps=6), rel=1e-6)


@pytest.mark.slow
def test_the_unit_of_energy_does_not_matter_to_the_study(tmp_path, monkeypatch):
    one = study.run(seed=10, out=tmp_path)
    in_joules_per_cubic_metre(monkeypatch)
    same_r2(one, study.run(seed=10, out=tmp_path), rel=1e-4)


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
