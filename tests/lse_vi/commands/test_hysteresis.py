"""From files to a report, a table and a figure, and one line for a fault."""

import csv

import matplotlib

matplotlib.use("Agg")

import pytest

from data_gen.superelastic import Wire
from lse_vi.commands.main import main


@pytest.fixture
def files(tmp_path):
    """Two tests in percent and MPa, with a row of units."""
    paths = []
    for i, (time, strain, stress) in enumerate(Wire().tests(2, seed=0)):
        path = tmp_path / f"wire{i}.csv"
        rows = zip(time, 100 * strain, stress, strict=True)
        lines = ["Time;Strain;Stress", "s;%;MPa", *(";".join(map(str, row)) for row in rows)]
        path.write_text("\n".join(lines))
        paths.append(str(path))
    return paths


COLUMNS = ["--strain", "Strain", "--stress", "Stress", "--quiet"]


def test_files_become_a_report_a_table_and_a_figure(files, tmp_path, capsys):
    out = tmp_path / "results" / "wire"
    assert main(["hysteresis", *files, *COLUMNS, "--out", str(out), "--format", "svg"]) == 0
    printed = capsys.readouterr().out
    assert "2 tests" in printed
    assert "2 phases" in printed
    assert (out / "report.txt").read_text() in printed + "\n"
    figure = (out / "loops.svg").read_text()
    assert figure.startswith("<?xml")
    with (out / "model.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["test"] for row in rows} == {"wire0", "wire1"}
    errors = [float(row["model"]) - float(row["stress"]) for row in rows]
    assert sum(e * e for e in errors) / len(errors) < 5.0**2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (["--strain", "eps"], "wire0.csv has no column 'eps'"),
        (["--time", "clock"], "line 1: no column 'clock', but Time, Strain, Stress"),
        (["--modes", "0"], "modes must be at least 1"),
        (["--out", "FILE/x"], "FILE"),
    ],
)
def test_a_fault_is_one_line(files, change, match, capsys, tmp_path):
    change = [part.replace("FILE", files[0]) for part in change]
    assert main(["hysteresis", *files, *COLUMNS, *change]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lse-vi hysteresis: ")
    assert error.count("\n") == 1
    assert match.replace("FILE", files[0]) in error


def test_a_command_must_be_named(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "COMMAND" in capsys.readouterr().err
