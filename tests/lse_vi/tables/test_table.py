"""A long table with missing cells and tracks that end early goes in as it is."""

import numpy as np
import pandas as pd
import pytest
import torch

from lse_vi import fit_density
from lse_vi.plots import plot_over_time
from lse_vi.tables.table import Table

QUICK = {"progress": False, "modes": 2, "restarts": 1, "polish": 0, "steps": 60}


@pytest.fixture(scope="module")
def tracks():
    """One mode that becomes two; the later, the fewer tracks; every ninth value is missing."""
    rng = np.random.default_rng(0)
    rows = []
    for t, n in ((0.0, 160), (2.5, 120), (10.0, 90)):
        side = rng.choice([-1.0, 1.0], n) * t
        rows.append(pd.DataFrame({"time_h": t, "gfp": side + rng.standard_normal(n)}))
    table = pd.concat(rows, ignore_index=True).sample(frac=1.0, random_state=1)
    table.loc[::9, "gfp"] = np.nan
    return table


@pytest.fixture(scope="module")
def fit(tracks):
    return fit_density(tracks, value="gfp", by="time_h", **QUICK)


def test_each_group_is_a_fit_with_its_label(tracks, fit):
    assert fit.labels == ("0.0", "2.5", "10.0")
    assert fit.active_modes.tolist() == [1, 2, 2]
    present = tracks.dropna().groupby("time_h").size().tolist()
    assert fit.ess.tolist() == present
    missing = int(tracks.gfp.isna().sum())
    assert f"{missing} rows with missing entries were left out" in str(fit)
    late = fit["10.0"]
    x = torch.linspace(-15, 15, 7).unsqueeze(-1)
    alone, batch = late.density.log_prob(x), fit.density.log_prob(x.unsqueeze(1))
    torch.testing.assert_close(alone, batch[:, 2])
    assert int(late.active_modes) == int(fit[2].active_modes) == 2
    assert str(late).count("mean") == 2


def test_a_figure_over_time_has_the_names_of_the_table(fit):
    ax = plot_over_time(fit)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time_h", "gfp")
    marks = ax.collections[1].get_offsets()
    assert len(marks) == 5
    assert set(np.asarray(marks)[:, 0]) == {0.0, 2.5, 10.0}


def test_a_column_of_counts_is_the_weight_of_its_rows():
    table = pd.DataFrame({"size": np.linspace(0, 1, 20), "count": range(20)})
    taken = Table.of(table, weights="count")
    assert taken.names == ("size",)
    assert taken.weights.tolist() == list(range(20))
    grouped = Table.of(table.assign(day=[0] * 15 + [1] * 5), "count", "size", "day")
    assert grouped.weights.sum(0).tolist() == [sum(range(15)), sum(range(15, 20))]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: Table.of(t, value="gpf"), "no column 'gpf' in time_h, gfp; did you mean 'gfp'"),
        (lambda t: Table.of(t.gfp, value="gfp"), "columns of a DataFrame, but x is Series"),
        (lambda t: Table.of(t.assign(gfp=np.nan), value="gfp"), "no row has entries in all of gfp"),
    ],
)
def test_the_error_names_what_is_meant(tracks, call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(tracks)


def test_parts_that_are_not_there(fit):
    with pytest.raises(KeyError, match=r"the labels are 0\.0, 2\.5, 10\.0"):
        fit["4.0"]
    with pytest.raises(TypeError, match="this is a single fit"):
        fit[0][0]


def test_columns_that_look_like_times_are_asked_about():
    plain = pd.DataFrame(np.random.default_rng(0).standard_normal((30, 5)))
    assert len(Table.of(plain).names) == 5  # nobody has named these columns
    wide = plain.set_axis([0, 1, 2, 3, 4], axis=1)
    wide.columns = pd.Index(list(wide.columns))
    with pytest.warns(UserWarning, match=r"5 columns named 0, 1, ... 4, and is taken as points"):
        Table.of(wide)
    long = wide.melt(var_name="time", value_name="y")
    assert Table.of(long, value="y", by="time").labels == ("0", "1", "2", "3", "4")
    for columns in (list("abcde"), [3, 1, 4, 1.5, 9]):
        assert len(Table.of(wide.set_axis(columns, axis=1)).names) == 5
