"""Tests come as people have them, and what cannot be meant is refused by name."""

import numpy as np
import pandas as pd
import pytest
import torch

from lse_vi.hysteresis.records import read_tests

NAMES = {"strain": "strain", "stress": "stress", "times": "time"}
T = np.arange(12.0)
E = np.minimum(T, 11 - T) / 100
S = 1000 * E


def read(tests, **names):
    return read_tests(tests, **(NAMES | names))


FORMS = {
    "pairs": [(E, S)],
    "triples": [(T, E, S)],
    "lists": [(E.tolist(), S.tolist())],
    "tensors": [(torch.as_tensor(E), torch.as_tensor(S))],
    "array": [np.stack([E, S], axis=1)],
    "one array": np.stack([T, E, S], axis=1),
    "one pair": (E, S),
    "one pair as a list": [E, S],
    "tables": [pd.DataFrame({"time": T, "strain": E, "stress": S})],
    "one table": pd.DataFrame({"stress": S, "strain": E}),
    "two lengths": [(E, S), (E[:11], S[:11])],
    "integers": [((100 * E).astype(int), S.astype(int))],
    "float32": [(E.astype(np.float32), S.astype(np.float32))],
    "a series": [(pd.Series(E), pd.Series(S))],
    "reversed and strided": [(E[::-1], np.repeat(S, 2)[::2])],
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_read(form):
    records = read(FORMS[form])
    first = records[0]
    assert len(records) == (2 if form == "two lengths" else 1)
    assert first.strain.dtype == first.stress.dtype == np.float64
    assert len(first.strain) == len(first.stress) == 12
    np.testing.assert_allclose(first.stress, S, rtol=1e-6)
    assert (first.times is not None) == (form in ("triples", "one array", "tables"))


def spoiled(values, row, value):
    copy = values.copy()
    copy[row] = value
    return copy


@pytest.mark.parametrize(
    ("tests", "match"),
    [
        ([], "tests must hold one test or more, but is empty"),
        ("file.csv", "tests must be a list with one"),
        (None, "tests must be a list with one"),
        ([(E, S, T, T)], r"tests\[0\] has 4 parts"),
        ([np.zeros((12, 5))], r"tests\[0\] has shape \(12, 5\)"),
        (E, r"tests\[0\] has shape \(12,\); one test is fit_memory\(\(strain, stress\)\)"),
        ([(E, S), 3.0], r"tests\[1\] has float"),
        ([(E, S[:-1])], r"tests\[0\] must have columns of one length, but has 12 of strain, 11"),
        ([(E[:5], S[:5])], r"tests\[0\] needs at least 10 rows, but has 5"),
        ([(E, S), (E, spoiled(S, 3, np.nan))], r"tests\[1\], stress must be finite.*row 3"),
        ([(spoiled(E, 2, np.inf), S)], r"tests\[0\], strain must be finite.*row 2"),
        ([(0 * E, S)], r"tests\[0\], strain must vary, but is 0"),
        ([(spoiled(T, 5, 4.0), E, S)], r"tests\[0\], times must increase, but 4 in row 5 is rep"),
        ([(spoiled(T, 5, 1.0), E, S)], r"1 in row 5 goes back after 4; sort the rows"),
        ([(list("abcdefghijkl"), S)], r"tests\[0\], strain must hold real numbers, but got"),
        ([(E + 0j, S)], r"tests\[0\], strain must hold real numbers, but got complex"),
        (
            [pd.DataFrame({"strain": E, "load": S})],
            r"tests\[0\] has no column 'stress', but strain",
        ),
        ([pd.DataFrame({"strain": E, "stress": list("abcdefghijkl")})], r"tests\[0\], stress must"),
        (
            [pd.DataFrame(np.stack([E, E, S], 1), columns=["strain", "strain", "stress"])],
            "than one",
        ),
        ([(np.zeros((3, 4)), np.zeros((3, 4)))], "strain must be one column of numbers"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(tests, match):
    with pytest.raises((TypeError, ValueError), match=match):
        read(tests)


def test_names_are_one_for_each_test():
    assert read([(E, S), (E, S)], names=["a", "b"])[1].name == "b"
    with pytest.raises(ValueError, match="names must be 2, one for each test, but are 1"):
        read([(E, S), (E, S)], names=["a"])


def test_columns_can_have_other_names():
    table = pd.DataFrame({"eps": E, "sigma": S, "t": T})
    record = read([table], strain="eps", stress="sigma", times="t")[0]
    assert record.times is not None
    with pytest.raises(ValueError, match=r"no column 'strain', but eps, sigma, t; name .* strain="):
        read([table])
