"""Numbers as other people bring them, of any unit, type, order or gap."""

import numpy as np
import pandas as pd
import pytest
import torch

from lse_vi import LSEICNN, fit_density, fit_potential, stationary_points
from lse_vi.fitting.report import number
from lse_vi.numerics.arrays import read

QUIET = {"progress": False}
X = np.linspace(-2, 2, 120)
Y = (X**2 - 1) ** 2


def wells(x=X, y=Y, modes=4):
    torch.manual_seed(0)
    return fit_potential(LSEICNN(1, modes, dtype=torch.float32), x, value=y, **QUIET)


# -- potentials -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "modes"),
    [
        (X, Y - 4e4, 4),
        (X + 1e6, Y, 4),
        (X, Y * 1e-5, 3),
        (X * 1e-10, Y, 3),
        (X * 1e-10, Y * 1e-5, 3),
        (torch.linspace(-2, 2, 120, dtype=torch.float32) + 1e6, Y, 4),
    ],
    ids=["level", "offset", "height", "scale", "both", "single"],
)
def test_a_double_well_has_two_minima_in_any_units(x, y, modes):
    res = wells(x, y, modes)
    assert len(res.minima.points) == 2
    middle, spread = float(np.mean(np.asarray(x, float))), float(np.std(np.asarray(x, float)))
    places = ((res.minima.points.flatten() - middle) / spread).sort().values
    truth = np.array([-1.0, 1.0]) / X.std()
    assert places.tolist() == pytest.approx(truth, abs=0.02)


def test_stationary_points_of_a_low_double_well():
    found = stationary_points(
        wells(X, 0.01 * Y, 3).potential, torch.linspace(-1.5, 1.5, 31)[:, None]
    )
    assert sorted(found.kinds) == ["maximum", "minimum", "minimum"]


@pytest.mark.parametrize("row", [3, 57, 100])
def test_one_wrong_value_is_named_and_does_not_bend_the_wells(row):
    y = Y.copy()
    y[row] = 50.0
    res = wells(X, y)
    assert res.outliers == (row,)
    assert f"1 of 120 (row {row})" in str(res)
    assert res.minima.points.flatten().sort().values.tolist() == pytest.approx([-1, 1], abs=0.02)


def test_noise_of_heavy_tails_is_no_outlier():
    noise = 0.1 * np.random.default_rng(0).standard_t(3, len(X))
    res = wells(X, Y + noise)
    assert res.outliers == ()
    assert len(res.minima.points) == 2


def test_points_of_which_something_is_masked_are_left_out():
    x, y = np.ma.masked_array(X, np.zeros(120, bool)), np.ma.masked_array(Y, np.zeros(120, bool))
    x[5], y[9] = np.ma.masked, np.ma.masked
    y.data[9] = -999.0
    res = wells(x, y)
    assert len(res.points) == 118
    assert len(res.minima.points) == 2


# -- densities ------------------------------------------------------------------------------------


def test_whole_numbers_far_from_zero():
    near = np.r_[np.repeat(np.arange(-8, 9), 6), np.repeat(np.arange(52, 69), 6)]
    res = fit_density(near + 10**8, modes=3, **QUIET)
    assert int(res.active_modes) == 2
    assert (res.mode_locations.flatten() - 10**8).sort().values.tolist() == pytest.approx(
        [0, 60], abs=1.0
    )
    assert "1e+08 + 6" in str(res)


def test_a_value_that_nearly_all_share():
    res = fit_density(np.r_[np.full(58, 968), 967, 962], modes=3, **QUIET)
    weights = res.mode_weights.sort(descending=True).values
    # Cells of one: that of 967 is beside that of 968, and in its mode.
    assert weights.tolist() == pytest.approx([59 / 60, 1 / 60], abs=0.01)
    assert [text[:14] for text in res.warnings] == ["1 of 60 points"]  # 962, a stray here


GROUPS = np.r_[
    np.random.default_rng(0).normal(-3, 1, 150), np.random.default_rng(1).normal(3, 1, 150)
]


@pytest.mark.parametrize(
    "stray",
    [[1e4], [1e6], [-1e6], 1e4 + np.random.default_rng(2).normal(size=5)],
    ids=["1e4", "1e6", "-1e6", "group"],
)
def test_groups_far_closer_than_an_outlier_are_still_found(stray):
    res = fit_density(np.r_[GROUPS, stray], modes=4, **QUIET)
    heavy = res.mode_weights > 0.1
    places = res.mode_locations[heavy].flatten().sort().values
    assert places.tolist() == pytest.approx([-3, 3], abs=0.4)
    assert float(res.mode_weights[~heavy].sum()) == pytest.approx(len(stray) / 300, abs=0.01)


def test_masked_values_are_ignored():
    masked = np.ma.masked_equal(np.r_[GROUPS, np.full(20, -999.0)], -999.0)
    options = {"modes": 3, "steps": 40, "polish": 60, **QUIET}
    res, plain = fit_density(masked, **options), fit_density(GROUPS, **options)
    assert torch.equal(res.mode_weights, plain.mode_weights)


def test_a_density_says_how_many_of_the_listed_modes_carry_data():
    text = str(fit_density(np.r_[GROUPS, 1e4], modes=4, **QUIET))
    assert "2 modes (of 3 listed), 2 peaks" in text


# -- types ----------------------------------------------------------------------------------------

PLAIN = [1.0, 2.5, -3.0]


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (PLAIN, torch.float64),
        (np.array(PLAIN, np.float32), torch.float32),
        (np.array(PLAIN, np.float16), torch.float32),
        (np.array(PLAIN, np.longdouble), torch.float64),
        (np.array(PLAIN, ">f8"), torch.float64),
        (np.array(PLAIN[::-1])[::-1], torch.float64),
        (np.array([PLAIN, PLAIN]).T[:, 0], torch.float64),
        (torch.tensor(PLAIN).half(), torch.float32),
        (pd.Series(PLAIN, index=["a", "b", "c"]), torch.float64),
        (pd.array(PLAIN, dtype="Float64"), torch.float64),
    ],
)
def test_real_numbers_of_any_type_are_read(x, dtype):
    values, missing = read("x", x)
    assert values.dtype == dtype
    assert values.tolist() == PLAIN
    assert missing is None


def test_times_and_whole_numbers_are_exact():
    stamps = 1_764_000_000_000 + np.arange(3)
    assert read("x", stamps).values.tolist() == stamps.tolist()
    days = pd.to_datetime(["2024-01-01", None, "2024-01-03"]).astype("datetime64[s]")
    values, missing = read("x", days)
    assert float(values[2] - values[0]) == 2 * 86400
    assert missing.tolist() == [False, True, False]
    values, missing = read("x", pd.Series([1, None, 3], dtype="Int64"))
    assert missing.tolist() == [False, True, False]
    assert values[[0, 2]].tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        ([True, False], "booleans"),
        (torch.tensor([True]), "booleans"),
        ([1j, 2.0], "complex numbers"),
        (torch.tensor([1j]), "complex numbers"),
        (["1.0", "2.0"], "text"),
        ([b"1"], "bytes"),
        (np.array([object()]), "object"),
        (pd.DataFrame({"a": [1.0, 2.0], "gene": ["x", "y"]}), "in column 'gene'"),
        (pd.Series([True, False], dtype="boolean"), "bool"),
    ],
)
def test_what_holds_no_real_numbers_is_refused_by_name(x, kind):
    with pytest.raises(TypeError, match=f"weight must hold real numbers, but got .*{kind}"):
        read("weight", x)


@pytest.mark.parametrize(
    "fit", [fit_density, lambda x, **o: fit_potential(LSEICNN(1, 2), x, x, **o)]
)
def test_data_that_vary_by_less_than_their_rounding_are_refused(fit):
    x = torch.linspace(0, 0.3, 40, dtype=torch.float32) + 1e6
    with pytest.raises(
        ValueError, match=r"x varies in column \[0\] by less than 8 steps of float32"
    ):
        fit(x, **QUIET)


def test_reports_show_what_differs():
    assert number(1.7e9 + 30.0, 10.0) == "1.7e+09 + 30"
    assert number(-0.5, 1.0) == "-0.5"
    assert number(0.0, 1.0) == "0"
    assert number(float("nan"), 1.0) == "nan"
    for offset in (1e5, 1.23456789e12, -7.7e20):
        for rest in (0.001, 1.5, -3.33):
            spread = abs(offset) * 1e-7
            text = number(offset + rest * spread, spread)
            assert eval(text) == pytest.approx(offset + rest * spread, abs=0.01 * spread)
