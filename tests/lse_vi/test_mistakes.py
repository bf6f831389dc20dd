"""What users commonly get wrong, and the hint that each must be given."""

import numpy as np
import pandas as pd
import pytest
import torch

from lse_vi import LSEICNN, LSEDensity, count_modes, fit_density, fit_posterior, fit_potential
from lse_vi.plots import plot_density

X = np.random.default_rng(0).normal(size=60)
TABLE = pd.DataFrame({"gfp": X, "cell": ["a", "b"] * 30, "time_h": np.repeat([0.0, 1.0, 2.0], 20)})
QUICK = {"modes": 1, "steps": 5, "polish": 0, "restarts": 1, "hidden": (), "progress": False}


@pytest.fixture(scope="module")
def single():
    return fit_density(X, **QUICK)


@pytest.fixture(scope="module")
def groups():
    return fit_density(TABLE, value="gfp", by="time_h", **QUICK)


MISTAKES = {
    "the word of scikit-learn": (lambda: fit_density(X, n_components=3), "it is called modes"),
    "its seed": (lambda: fit_density(X, random_state=3), "it is called seed"),
    "several numbers of modes": (lambda: fit_density(X, modes=[1, 2]), "modes must be an integer"),
    "a table with text": (lambda: fit_density(TABLE), "in column 'cell'; leave out what is not"),
    "groups without columns": (lambda: fit_density(TABLE, by="time_h"), "value must name the col"),
    "a column misspelt": (lambda: fit_density(TABLE, value="gpf"), "did you mean 'gfp'"),
    "a path for data": (lambda: fit_density("data.csv"), "read by pandas.read_csv first"),
    "a row for a column": (lambda: fit_density(X[None]), r"give the transpose, \.T"),
    "missing numbers": (lambda: fit_density(np.append(X, np.nan)), "drop or impute them"),
    "data behind a wall": (lambda: fit_density(X, bounds=(0, None)), "28 of the 60 points lie out"),
    "a plot of data": (lambda: plot_density(X), "must be an LSEDensity or that of fit_density"),
    "points before a potential": (lambda: fit_potential(X, X**2), "pot must be an LSEICNN"),
    "no targets": (lambda: fit_potential(LSEICNN(1, 2), X), "give one of them, or both"),
    "plain modes on R": (lambda: LSEDensity(LSEICNN(1, 2)), "network=WhitenedICNN"),
    "bounds in the plane": (
        lambda: count_modes(np.stack([X, X**2], 1), modes=2, bounds=(-9, None)),
        r"bounds: a posterior takes them in one dimension.*use fit_density\(x, bounds=",
    ),
    "a pair per coordinate": (
        lambda: fit_density(np.stack([X, X**2], 1), bounds=[(-9, 9), (0, 99)]),
        r"points lie outside .* The bounds are \(lows, highs\), and not a pair per coordinate",
    ),
    "three pairs": (
        lambda: fit_density(np.stack([X, X**2, X], 1), bounds=[(-9, 9)] * 3),
        r"a pair \(low, high\), each a number or 3 numbers, and not a pair per coordinate",
    ),
    "bounds the wrong way round": (lambda: count_modes(X, bounds=(9, -9)), "must have low < high"),
    "groups of a count": (
        lambda: count_modes(TABLE, value="gfp", by="time_h"),
        "by: count_modes takes none, as it fits one group; take one after another",
    ),
    "a period where none is": (
        lambda: fit_posterior(X, modes=2, period=360),
        "period: fit_posterior takes none.*cut the circle",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_common_mistake_is_named_with_what_to_do(mistake):
    call, hint = MISTAKES[mistake]
    with pytest.raises((TypeError, ValueError), match=hint):
        call()


def test_parts_of_a_single_fit_labels_and_what_a_density_has(single, groups):
    with pytest.raises(TypeError, match=r"this is a single fit.*read its \.density"):
        single[0]
    with pytest.raises(KeyError, match=r"no group is labelled .9.; the labels are 0\.0, 1"):
        groups["9"]
    with pytest.raises(AttributeError, match=r"FitResult has no sample; .* \.density\.sample"):
        single.sample((3,))
    with pytest.raises(AttributeError, match=r"FitResult has no weights_; .*mode_weights"):
        _ = single.weights_
    with pytest.raises(AttributeError, match=r"FitResult has no n_components; active_modes counts"):
        _ = single.n_components
    with pytest.raises(AttributeError, match=r"FitResult has no predict; .*responsibilities"):
        single.predict(X)
    with pytest.raises(ValueError, match=r"value must have shape .* 1\), but got \(60,\); x\.unsq"):
        single.density.log_prob(torch.as_tensor(X))
    assert not hasattr(single, "nothing")


def test_what_other_results_have_is_named_by_a_posterior_and_a_count():
    count = count_modes(X, modes=1, draws=50, progress=False)
    for name, hint in {
        "n_modes": "most_probable",
        "peaks": "the most probable K has it: best",
    }.items():
        with pytest.raises(AttributeError, match=f"ModeCount has no {name}; .*{hint}"):
            getattr(count, name)
    for name, hint in {"weights": "peak_table", "log_evidence": r"evidence\.log_evidence"}.items():
        with pytest.raises(AttributeError, match=f"DensityPosterior has no {name}; .*{hint}"):
            getattr(count.best, name)
    assert not hasattr(count, "nothing")
    assert not hasattr(count.best, "nothing")
