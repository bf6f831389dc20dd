"""Files of machines are read in their dialects; what is wrong is said by file and line."""

import numpy as np
import pytest

from lse_vi.hysteresis.files import read_file, read_files

E = np.round(np.concatenate([np.linspace(0, 6, 20), np.linspace(5.8, 0, 20)]), 3)
S = np.round(100 * E, 1)


def write(path, sep=",", head="time,strain,stress", units="", decimal=".", before=""):
    rows = [f"{i},{e},{s}" for i, (e, s) in enumerate(zip(E, S, strict=True))]
    text = "\n".join([head, *([units] if units else []), *rows])
    if sep != ",":
        text = text.replace(",", sep)
    if decimal != ".":
        text = text.replace(".", decimal)
    path.write_text(before + text + "\n", encoding="utf-8")
    return path


DIALECTS = {
    "commas": {},
    "tabs": {"sep": "\t"},
    "semicolons and decimal commas": {"sep": ";", "decimal": ","},
    "units": {"units": "s,%,MPa"},
    "lines before the header": {"before": "Machine X\nSample: wire\n\n"},
    "byte order mark": {"before": "\ufeff"},
    "quotes": {"head": '"time","strain","stress"'},
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects(dialect, tmp_path):
    test = read_file(
        write(tmp_path / "a.csv", **DIALECTS[dialect]), strain="strain", stress="stress"
    )
    np.testing.assert_array_equal(test.strain, E)
    np.testing.assert_array_equal(test.stress, S)
    np.testing.assert_array_equal(test.times, np.arange(40))
    assert test.name == "a"
    assert test.units == (("%", "MPa") if dialect == "units" else ("", ""))
    assert len(test.columns) == 3


def test_without_times(tmp_path):
    path = write(tmp_path / "a.csv", head="n,e,s")
    test = read_file(path, strain="e", stress="s")
    assert test.times is None
    assert len(test.columns) == 2
    assert read_file(path, strain="e", stress="s", time="n").times is not None


def spoil(path, line, text):
    lines = write(path).read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("line", "text", "match"),
    [
        (
            1,
            "time,strain,load",
            r"a\.csv has no column 'stress'; its first line has time, strain, load",
        ),
        (1, "strain,strain,stress", r"line 1: 2 columns are named 'strain'"),
        (7, "5,abc,3", r"line 7: strain is 'abc', but must be a number"),
        (7, "5,nan,3", r"line 7: strain is 'nan'"),
        (7, "5,1,", r"line 7: stress is missing"),
        (7, "5,1", r"line 7: stress is missing"),
        (7, "5,1,inf", r"line 7: stress is 'inf'"),
        (7, "4,1,3", r"line 7: time 4 repeats 4; sort"),
        (7, "1,1,3", r"line 7: time 1 goes back behind 4; sort"),
    ],
)
def test_faults_are_named_by_file_and_line(line, text, match, tmp_path):
    with pytest.raises(ValueError, match=match) as error:
        read_file(spoil(tmp_path / "a.csv", line, text), strain="strain", stress="stress")
    assert "a.csv" in str(error.value)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"  \n\n", "is empty"),
        (b"strain,stress\n", "has a header, but no rows"),
        (b"strain,stress\n" + 5 * b"1,2\n", r"a.csv needs at least 10 rows, but has 5"),
        (b"strain,stress\n" + 20 * b"1,2\n", r"a.csv, strain must vary, but is 1"),
        (b"PK\x03\x04\0\0", "is no text"),
        (b"1,2\n3,4\n", "has no column 'strain'; its first line has 1, 2"),
    ],
)
def test_files_that_hold_no_test(content, match, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match):
        read_file(path, strain="strain", stress="stress")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        read_file(tmp_path / "b.csv", strain="strain", stress="stress")
    with pytest.raises(ValueError, match="give one file or more"):
        read_files([], strain="strain", stress="stress")


def test_files_of_one_name_are_told_apart(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "a.csv")
    paths = [tmp_path / "x" / "a.csv", tmp_path / "y" / "a.csv"]
    tests = read_files(paths, strain="strain", stress="stress")
    assert [t.name for t in tests] == ["a (1)", "a (2)"]
