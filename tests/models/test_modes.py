"""The command on a user's own table: what it writes, and what it says of a bad one."""

import json
import re

import numpy as np
import pytest

from models import modes
from models.columns import read_columns


def write(path, rows, header="x,name"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def good(tmp_path):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-4, 1, 30), rng.normal(4, 1, 50)])
    return write(tmp_path / "good.csv", [f"{v},a" for v in x])


def test_two_groups_are_found_and_written(good, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--data", str(good), "--column", "x", "--modes", "2", "--draws", "200"]
    modes.main([*arguments, "--out", str(out)])
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["mode_probabilities"]["2"] > 0.9
    assert sum(metrics["mode_probabilities"].values()) == pytest.approx(1)
    assert set(metrics["loo"]) == {"1", "2"}
    assert metrics["loo"]["2"]["elpd"] > metrics["loo"]["1"]["elpd"]
    assert metrics["seconds"] > 0
    assert {"modes.png", "metrics.json", "posterior.nc"} == {p.name for p in out.iterdir()}
    assert "number of modes" in capsys.readouterr().out


ROWS = [f"{i},{i * i}" for i in range(12)]


@pytest.mark.parametrize(
    ("rows", "header", "columns", "message"),
    [
        (["1,2", ",3", *ROWS], "x,y", ["x"], "line 3, column 'x': a value is missing"),
        (["1,2", "NaN,3", *ROWS], "x,y", ["x"], "line 3, column 'x': a value is missing"),
        (["1,2", "3", *ROWS], "x,y", ["y"], "line 3, column 'y': a value is missing"),
        (["1,red", *ROWS], "x,y", ["y"], "column 'y': expected a finite number, but got 'red'"),
        (["1,inf", *ROWS], "x,y", ["y"], "line 2, column 'y': expected a finite number"),
        (["7,1"] * 12, "x,y", ["x"], "column 'x': all values are 7"),
        (ROWS[:3], "x,y", ["x"], "has 3 rows of data, but 10 are needed"),
        (ROWS, "x,y", ["z"], "no column 'z', but x, y"),
        ([f"{i},{i},{i}" for i in range(12)], "x,y,z", [], "name them by --column"),
        (ROWS, "0,1", ["x"], "the first line must name the columns"),
    ],
)
def test_a_bad_table_is_named_by_line_and_column(tmp_path, rows, header, columns, message, capsys):
    path = write(tmp_path / "bad.csv", rows, header)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_columns(path, columns)
    with pytest.raises(SystemExit) as stop:
        modes.main(["--data", str(path), *(["--column", *columns] if columns else [])])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_and_an_empty_file(tmp_path):
    with pytest.raises(ValueError, match="no file"):
        read_columns(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        read_columns(tmp_path / "empty.csv")


def test_two_columns_are_read_in_the_order_asked_for(tmp_path):
    path = write(tmp_path / "two.csv", ROWS, "x,y")
    data, names = read_columns(path, ["y", "x"])
    assert names == ["y", "x"]
    np.testing.assert_array_equal(data, [[i * i, i] for i in range(12)])
