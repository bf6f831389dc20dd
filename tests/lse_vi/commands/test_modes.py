"""``lse-vi modes`` and ``lse-vi density``: from a table to a report, a table and a figure."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
import torch

from lse_vi.commands import counting, modes
from lse_vi.commands.main import main


@pytest.fixture
def file(tmp_path):
    """One group of cells that becomes two."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {"time_h": t, "gfp": rng.choice([-1.0, 1.0], 30) * t + rng.standard_normal(30)}
        )
        for t in (0.0, 6.0)
    ]
    path = tmp_path / "tracks.csv"
    pd.concat(parts).to_csv(path, index=False)
    return path


@pytest.fixture
def fast(monkeypatch):
    """Untrained guides and few draws, in this process."""
    quick = {"guide": "laplace", "draws": 100}

    def count(x, **options):
        return counting_of(x, **options, **quick)

    counting_of = counting.count_modes
    monkeypatch.setattr(counting, "count_modes", count)
    monkeypatch.setattr(modes, "count_modes", count)
    monkeypatch.setattr(counting.os, "cpu_count", lambda: 1)


def test_modes_of_each_time(file, fast, tmp_path, capsys):
    out = tmp_path / "results"
    arguments = ["--value", "gfp", "--by", "time_h", "--modes", "2", "--out", str(out), "--quiet"]
    assert main(["modes", str(file), *arguments, "--format", "svg"]) == 0
    printed = capsys.readouterr().out
    assert "time_h 0.0 (30 rows)  number of modes 1: " in printed
    assert "time_h 6.0 (30 rows)  number of modes 2: " in printed
    assert (out / "modes.txt").read_text() in printed + "\n"
    assert "time_h" in (out / "modes.svg").read_text()
    table = pd.read_csv(out / "modes.csv")
    assert table.time_h.tolist() == [0.0, 6.0, 6.0]
    assert table.gfp[1:].tolist() == pytest.approx([-6, 6], abs=1)
    assert table.share[1:].sum() == pytest.approx(1.0)


def test_modes_of_a_column(file, fast, tmp_path, capsys):
    arguments = ["--value", "gfp", "--where", "time_h > 0", "--modes", "2", "--out", str(tmp_path)]
    assert main(["modes", str(file), *arguments, "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "number of modes 2: " in printed
    assert "mode 1 at -6." in printed or "mode 1 at -5." in printed
    assert "note: 30 of 60 rows have time_h > 0" in printed
    assert (tmp_path / "modes.png").stat().st_size > 10_000


def test_modes_of_waiting_times(fast, tmp_path):
    """No mode is beyond a wall, and rows beyond it are refused."""
    waits = np.random.default_rng(1).exponential(size=300)
    path = tmp_path / "waits.csv"
    pd.DataFrame({"wait_s": waits}).to_csv(path, index=False)
    arguments = ["--value", "wait_s", "--modes", "1", "--out", str(tmp_path / "out"), "--quiet"]
    assert main(["modes", str(path), *arguments, "--bounds", "0", "inf"]) == 0
    assert (pd.read_csv(tmp_path / "out" / "modes.csv").wait_s >= 0).all()
    assert main(["modes", str(path), *arguments, "--bounds", "0.5", "inf"]) == 2


@pytest.mark.parametrize("by", [["--by", "time_h"], []])
def test_a_density_and_its_modes(file, tmp_path, capsys, by):
    arguments = ["--value", "gfp", *by, "--modes", "2", "--out", str(tmp_path), "--quiet"]
    assert main(["density", str(file), *arguments, "--format", "pdf"]) == 0
    assert "log-likelihood" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "density.csv")
    total = table.groupby("time_h").share.sum() if by else [table.share.sum()]
    assert list(total) == pytest.approx([1.0] * len(total), abs=0.01)
    assert (tmp_path / "density.pdf").read_bytes().startswith(b"%PDF")


def test_a_histogram_in_a_file_has_a_column_of_counts(tmp_path, capsys):
    path = tmp_path / "histogram.csv"
    table = pd.DataFrame(
        {"length_um": np.arange(0.5, 15.5), "count": [1, 4, 9, 20, 9, 4, 1] * 2 + [0]}
    )
    table.to_csv(path, index=False)
    arguments = ["--value", "length_um", "--weights", "count", "--modes", "3"]
    assert main(["density", str(path), *arguments, "--out", str(tmp_path), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "2 modes" in printed
    assert "weights read as counts of 96 points" in printed
    assert (tmp_path / "density.png").stat().st_size > 10_000


def test_versions_are_printed(capsys):
    assert main(["version"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("lse-vi ")
    assert "torch" in printed


@pytest.mark.slow
def test_groups_are_shared_among_processes(monkeypatch):
    """The same answers from one process and from two, in the order of the groups."""
    torch.set_default_dtype(torch.float32)  # of new processes; the fixture sets it back
    rng = np.random.default_rng(0)
    groups = {name: rng.standard_normal(12) for name in ("b", "a")}
    options = {"modes": 1, "guide": "laplace", "draws": 20}
    ticks = counting.ticks_of(np.concatenate(list(groups.values())))
    both = {}
    for workers in (1, 2):
        monkeypatch.setattr(counting.os, "cpu_count", lambda n=workers: n)
        both[workers] = list(counting.count_groups(groups, ticks, options))
    assert [g.label for g in both[2]] == ["b", "a"]
    for one, two in zip(both[1], both[2], strict=True):
        assert one.probabilities == two.probabilities
        np.testing.assert_allclose(one.heights, two.heights)
