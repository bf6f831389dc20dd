"""What users commonly get wrong, and the hint that each must be given."""

import numpy as np
import pandas as pd
import pytest

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
    with pytest.raises(AttributeError, match=r"a result has no sample; .* \.density\.sample"):
        single.sample((3,))
    assert not hasattr(single, "nothing")
