"""Files as users have them become rows; what is wrong or odd is said in words."""

import argparse
import importlib.util

import numpy as np
import pandas as pd
import pytest

from lse_vi.commands.rows import FEWEST, add_rows, alike, read_rows


@pytest.fixture
def table():
    """20 cells at three times; cells differ, and every tenth value is missing."""
    rng = np.random.default_rng(0)
    cell, time = np.meshgrid(np.arange(20), [0.0, 1.0, 2.5], indexing="ij")
    gfp = 5 * rng.standard_normal(20)[:, None] + rng.standard_normal(cell.shape)
    own = {"cell": cell.ravel(), "time_h": time.ravel(), "gfp": gfp.ravel(), "line": "WT"}
    table = pd.DataFrame(own)
    table.loc[::10, "gfp"] = np.nan
    return table


def rows_of(path, *arguments):
    parser = argparse.ArgumentParser()
    add_rows(parser)
    return read_rows(parser.parse_args([str(path), *arguments]))


@pytest.mark.parametrize(("ending", "sep"), [("csv", ","), ("csv", ";"), ("tsv", "\t")])
def test_a_table_is_read_whatever_parts_its_columns(table, tmp_path, ending, sep):
    path = tmp_path / f"tracks.{ending}"
    table.to_csv(path, index=False, sep=sep)
    rows = rows_of(path, "--value", "gfp", "--by", "time_h", "--drop-missing")
    assert len(rows.table) == 54
    assert "6 of 60 rows without an entry were left out" in rows.notes
    pd.testing.assert_series_equal(rows.table.gfp, table.gfp.dropna().reset_index(drop=True))


def test_a_table_of_one_column_has_no_separator(tmp_path):
    path = tmp_path / "angles.csv"
    pd.DataFrame({"angle_deg": np.arange(20.0)}).to_csv(path, index=False)
    assert rows_of(path, "--value", "angle_deg").table.columns.tolist() == ["angle_deg"]


def test_parquet_is_read_where_pandas_can_and_else_the_error_says_what_to_install(table, tmp_path):
    path = tmp_path / "tracks.parquet"
    if importlib.util.find_spec("pyarrow") is None:
        path.write_bytes(b"PAR1")
        with pytest.raises(ValueError, match=r"tracks\.parquet: .* pip install pyarrow"):
            rows_of(path, "--value", "gfp")
        return
    table.to_parquet(path)
    rows = rows_of(path, "--value", "gfp", "--by", "time_h", "--drop-missing")
    assert len(rows.table) == 54


def test_rows_are_chosen_by_a_condition(table, tmp_path):
    path = tmp_path / "tracks.csv"
    table.to_csv(path, index=False)
    where = ["--where", "time_h > 0 and line == 'WT'"]
    rows = rows_of(path, "--value", "gfp", "--drop-missing", *where)
    assert (rows.table.time_h > 0).all()
    assert f"40 of 60 rows have {where[1]}" in rows.notes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--value", "gfp"], "6 of 60 rows have no entry in gfp; give --drop-missing"),
        (["--value", "gpf"], "there is no column 'gpf' .* did you mean 'gfp'"),
        (["--value", "line"], "'line' must hold numbers, but line 2 holds 'WT'"),
        (["--value", "cell", "--where", "dose > 0"], "--where 'dose > 0' cannot be understood"),
        (["--value", "cell", "--where", "time_h > 9"], f"0 rows are left, but at least {FEWEST}"),
    ],
)
def test_a_fault_is_said_in_words(table, tmp_path, arguments, said):
    path = tmp_path / "tracks.csv"
    table.to_csv(path, index=False)
    with pytest.raises(ValueError, match=said):
        rows_of(path, *arguments)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        rows_of(tmp_path / "x.csv", "--value", "a")
    (tmp_path / "x.xls").write_text("a\n1\n")
    with pytest.raises(ValueError, match=r"its name must end in \.csv"):
        rows_of(tmp_path / "x.xls", "--value", "a")


def test_rows_of_one_cell_are_said_to_be_alike(table):
    whole = table.dropna()
    (said,) = alike(whole, "gfp", None)
    assert "rows with the same 'cell' are alike: the 54 rows are worth about 2" in said
    (said,) = alike(whole, "gfp", "time_h")
    assert "are of 20 entries of 'cell', each at several time_h" in said
    once = whole[whole.time_h == 0]
    assert alike(once, "gfp", None) == []


def test_the_worth_of_rows_that_differ_no_more_than_others_is_their_number():
    rng = np.random.default_rng(1)
    own = {"well": np.repeat(np.arange(50), 20), "x": rng.standard_normal(1000)}
    assert alike(pd.DataFrame(own), "x", None) == []


@pytest.mark.parametrize("header", ["gfp,cell,gfp", "cell,gfp, gfp", 'gfp,"gfp",cell'])
def test_a_name_that_repeats_is_refused(tmp_path, header):
    path = tmp_path / "twice.csv"
    path.write_text(header + "\n" + "1,2,3\n" * 20)
    with pytest.raises(ValueError, match="2 columns are named 'gfp'; rename all but one"):
        rows_of(path, "--value", "gfp")
    assert len(rows_of(path, "--value", "cell").table) == 20


def test_columns_without_a_name_and_blank_lines_are_no_fault(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("\n,gfp,\n" + "".join(f"{i},{i / 2},\n" for i in range(20)))
    assert rows_of(path, "--value", "gfp").table.gfp.tolist() == [i / 2 for i in range(20)]
