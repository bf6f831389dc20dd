"""The estimator is one of scikit-learn's, and says what ``fit_density`` says."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from lse_vi import fit_density
from lse_vi.sklearn import LSEDensityEstimator

FAST = {"steps": 20, "polish": 0, "restarts": 1}


@pytest.fixture
def groups():
    rng = np.random.default_rng(0)
    far = 6.0 * rng.integers(0, 2, 120)
    return pd.DataFrame({"a": rng.standard_normal(120) + far, "b": rng.standard_normal(120) - far})


@pytest.mark.filterwarnings("ignore:.* points are fewer than the .* that a density")
@pytest.mark.parametrize(
    "options",
    [
        {"n_components": 1, "hidden": (), "steps": 5, "polish": 0, "restarts": 1},
        pytest.param({}, marks=pytest.mark.slow),
    ],
    ids=["fast", "as it is"],
)
def test_all_checks_of_scikit_learn_pass(options):
    check_estimator(LSEDensityEstimator(**options), on_skip=None)


def test_it_says_what_fit_density_says(groups):
    model = LSEDensityEstimator(3, **FAST).fit(groups)
    res = fit_density(groups, modes=3, held_out=0.0, seed=model._seed, progress=False, **FAST)
    assert model.score(groups) == pytest.approx(float(res.log_likelihood), abs=1e-12)
    assert model.n_components_ == 2
    assert list(model.feature_names_in_) == ["a", "b"]
    assert model.result_.names == ("a", "b")  # of the axes of its figures
    assert model.weights_.tolist() == sorted(res.mode_weights.tolist(), reverse=True)
    assert model.means_[:, 0].round().tolist() in ([0.0, 6.0], [6.0, 0.0])
    assert str(model.result_).startswith("fit of LSEDensity(dim=2, modes=2")


def test_its_methods_agree_with_each_other(groups):
    model = LSEDensityEstimator(3, **FAST).fit(groups)
    shares = model.predict_proba(groups)
    assert shares.sum(1) == pytest.approx(np.ones(120))
    assert (model.predict(groups) == shares.argmax(1)).all()
    assert shares.mean(0) == pytest.approx(model.weights_, abs=0.01)
    assert model.score(groups) == pytest.approx(model.score_samples(groups).mean())
    x, mode = model.sample(500)
    assert x.shape == (500, 2)
    named = pd.DataFrame(x, columns=groups.columns)
    assert (mode == model.predict(named)).all()
    # Of a law: the mean score of its draws is minus its entropy, to a few standard errors.
    assert model.score(named) == pytest.approx(model.score(groups), abs=0.4)
    assert model.bic(groups) < clone(model).set_params(n_components=1).fit(groups).bic(groups)


def test_whole_weights_are_counts_and_others_relative(groups):
    counts = np.arange(120) % 3
    model = LSEDensityEstimator(2, hidden=(), steps=20, restarts=1, polish=30)
    one = clone(model).fit(groups, sample_weight=counts.astype(float)).score_samples(groups)
    two = clone(model).fit(groups.loc[groups.index.repeat(counts)]).score_samples(groups)
    np.testing.assert_allclose(one, two, atol=0.1)  # two ends of an optimiser
    relative = clone(model).set_params(**FAST).fit(groups, sample_weight=counts / 2.5)
    assert relative.result_.weights_read == "relative"


def test_pipelines_cross_validation_and_searches(groups):
    pipe = make_pipeline(StandardScaler(), LSEDensityEstimator(2, **FAST))
    scores = cross_val_score(pipe, groups, cv=2)
    assert np.isfinite(scores).all()
    search = GridSearchCV(pipe, {"lsedensityestimator__n_components": [1, 2]}, cv=2).fit(groups)
    assert search.best_params_ == {"lsedensityestimator__n_components": 2}
    assert set(search.best_estimator_.predict(groups)) == {0, 1}


def test_few_points_get_a_gaussian_and_a_warning():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 5)) * [1, 2, 3, 4, 5]
    with pytest.warns(UserWarning, match="8 points are fewer than the 12"):
        model = LSEDensityEstimator().fit(x)
    assert model.n_components_ == 1
    assert model.means_[0] == pytest.approx(x.mean(0))
    assert np.isfinite(model.score_samples(x)).all()
