"""The Schlögl study: quick and small in every run, whole and against its targets when slow."""

import json
import subprocess
import sys

import arviz
import numpy as np
import pytest

from models import baselines, schlogl

QUICK = {"times": (1.0, 5.0, 10.0), "steps": 60, "draws": 40}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    out = tmp_path_factory.mktemp("schlogl")
    return schlogl.run(trajectories=100, out=out, **QUICK), out


def test_metrics_hold_what_others_read(quick):
    metrics, out = quick
    names = ("lse", "lse_bayes", "kde_scott", "kde_isj", "gmm_bic")
    assert all(len(metrics[f"tv_{name}"]) == 3 for name in names)
    assert all(0 < metrics[f"mean_tv_{name}"] < 0.5 for name in names)
    assert metrics["active_modes"] == [1, 2, 2]
    assert metrics["local_maxima"] == [1, 2, 2]
    assert 0 <= metrics["band_coverage_90"] <= 1
    assert json.loads((out / "metrics.json").read_text())["times"] == [1.0, 5.0, 10.0]
    assert "90% band" in schlogl.table(metrics)


def test_files_can_be_read(quick):
    _, out = quick
    assert (out / "figure8.png").stat().st_size > 20_000
    idata = arviz.from_netcdf(out / "posterior.nc")
    assert dict(idata.posterior["theta"].sizes)["set"] == 3
    assert idata.log_likelihood["x"].shape[:2] == (1, 40)


def test_the_command_line_says_what_it_takes():
    said = subprocess.run(
        [sys.executable, "-m", "models", "nothing"], capture_output=True, text=True, check=False
    )
    assert said.returncode != 0
    assert "schlogl" in said.stderr


def test_total_variation_and_local_maxima():
    p = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    q = np.array([[0.5, 0.0, 0.5], [0.2, 0.3, 0.5]])
    assert schlogl.total_variation(p, q) == [0.5, 0.0]
    assert schlogl.local_maxima(np.array([0.1, 0.3, 0.1, 0.2, 0.3])) == 2
    assert schlogl.local_maxima(np.array([0.5, 0.3, 0.3, 0.1])) == 1


def test_baselines_are_laws():
    rng = np.random.default_rng(0)
    counts = rng.poisson(100, (200, 2))
    laws = baselines.laws(counts, 300)
    assert set(laws) == {"kde_scott", "kde_isj", "gmm_bic"}
    for p in laws.values():
        assert p.shape == (2, 301)
        np.testing.assert_allclose(p.sum(-1), 1.0)
        np.testing.assert_allclose(p @ np.arange(301), counts.mean(0), atol=1.0)


@pytest.mark.slow
def test_targets_over_five_seeds(tmp_path):
    runs = [schlogl.run(seed=seed, out=tmp_path / str(seed)) for seed in range(5)]

    def mean(key):
        return np.mean([m[key] for m in runs])

    assert mean("mean_tv_lse") <= 0.075
    for other in ("kde_scott", "kde_isj", "gmm_bic"):
        assert mean("mean_tv_lse") < mean(f"mean_tv_{other}")
    assert mean("mean_tv_lse_bayes") <= mean("mean_tv_lse") + 0.01
    assert 0.80 <= mean("band_coverage_90") <= 0.98
    late = [i for i, t in enumerate(runs[0]["times"]) if t >= 3]
    assert all(m["local_maxima"][i] == 2 for m in runs for i in late)
    # "the 50 seed-time pairs" are t = 1..10; the count should say 2 from t = 4 on
    right = [m["active_modes"][i] == 2 for m in runs for i in late[1:]]
    assert np.mean(right) >= 0.9
