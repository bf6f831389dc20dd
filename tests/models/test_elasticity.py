"""The elasticity study: small in every run, whole and against its targets when slow."""

import json

import numpy as np
import pytest

from data_gen.elasticity import sawtooth
from models import elasticity as study
from models.command import save

SETS = {"isotropic", "transverse"}


@pytest.fixture(autouse=True)
def no_bars(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")


def test_a_small_run_gives_all_metrics_and_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "TRAIN", 32)
    monkeypatch.setattr(study, "TEST", 20)
    monkeypatch.setattr(study, "STEPS", dict.fromkeys(study.STEPS, 200))
    monkeypatch.setattr(study, "POLISH", dict.fromkeys(study.POLISH, 200))
    metrics = save(study.run(seed=1, out=tmp_path, quick=True), tmp_path)
    for key in ("r2_fixed", "r2_two_phase", "r2_two_phase_literal", "r2_two_phase_consistent"):
        assert set(metrics[key]) == SETS
    for key in ("dissipation_error", "negative_dissipation_share", "loop_error"):
        assert set(metrics[key]) == set(study.TWO_PHASE)
    assert set(metrics["negative_dissipation_share"]["consistent"].values()) == {0.0}
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert all((tmp_path / f"figure{i}.png").stat().st_size > 20_000 for i in (9, 10, 11))
    assert "twice the steps" in study.table(metrics)
    assert not list(tmp_path.glob("unfinished*"))


def test_refined_paths_hold_the_old_samples_and_their_midpoints():
    strain = study.along(sawtooth(3)).strain
    finer = study.refined(strain)
    assert finer.shape == (3, 2 * study.POINTS - 1, 3, 3)
    np.testing.assert_array_equal(finer[:, ::2], strain)
    np.testing.assert_allclose(finer[:, 1], 0.5 * (strain[:, 0] + strain[:, 1]))


def test_a_quarter_of_the_paths_to_fit_and_none_held_out_is_chosen_elastic():
    train, test = study.sample(40, 20, seed=3)
    np.testing.assert_array_equal(test.strain[..., 0, 0], sawtooth(60, seed=3)[40:])
    np.testing.assert_array_equal(train.strain[10:, :, 0, 0], sawtooth(60, seed=3)[10:40])
    assert np.abs(train.exact.phase[:10]).max() < 1e-12


def test_the_exact_stress_has_no_error_of_dissipation_beyond_that_of_the_trapezoid_rule():
    test = study.along(sawtooth(40, seed=3))
    assert study.dissipation_error(test.exact.stress, test) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_targets(tmp_path, seed):
    metrics = study.run(seed=seed, out=tmp_path)
    assert metrics["r2_fixed"]["transverse"] >= 0.999
    assert metrics["r2_two_phase_consistent"]["transverse"] >= 0.999
    assert metrics["dissipation_error"]["consistent"]["transverse"] <= 0.05
    for name in SETS:
        assert metrics["r2_two_phase"][name] >= 0.999
        assert metrics["dissipation_error"]["memory"][name] <= 0.05
        assert metrics["negative_dissipation_share"]["consistent"][name] == 0.0
        for kind in ("memory", "consistent"):
            assert metrics["loop_error"][kind][name] <= 0.01
            assert metrics["refinement_error"][kind][name] <= 0.01
