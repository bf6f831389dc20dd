"""What is wrong with tests is said, and nothing is said of good ones."""

import numpy as np
import pytest

from data_gen.superelastic import Wire
from lse_vi import fit_memory
from lse_vi.hysteresis.advice import about_fit, about_tests
from lse_vi.hysteresis.records import read_tests

NAMES = {"strain": "strain", "stress": "stress", "times": "time"}


def read(tests):
    return read_tests(tests, **NAMES)


@pytest.mark.parametrize("seed", range(5))
def test_good_tests_get_no_advice(seed):
    assert about_tests(read(Wire().tests(3, seed=seed))) == []


@pytest.mark.parametrize("seed", range(5))
def test_strain_and_stress_that_are_swapped_are_noticed(seed):
    swapped = [(t.stress, t.strain) for t in Wire().tests(3, seed=seed)]
    assert "probably swapped" in about_tests(read(swapped))[0]
    turned = [(t.strain, -t.stress) for t in Wire().tests(3, seed=seed)]
    assert "the sign of one of them" in about_tests(read(turned))[0]
    both = [(-t.strain, -t.stress) for t in Wire().tests(3, seed=seed)]
    assert about_tests(read(both)) == []


def test_a_test_that_never_turns_back_is_noticed():
    strain = np.linspace(0, 0.06, 100)
    tests = read([(strain, Wire().respond(strain).stress)])
    assert "no test turns back" in about_tests(tests)[0]


def test_a_test_that_begins_under_load_is_noticed():
    tests = [(t.strain[100:], t.stress[100:]) for t in Wire().tests(1, seed=1)]
    assert "begins at a strain of" in about_tests(read(tests))[0]


def test_a_loop_that_stays_unexplained_is_no_elastic_material(noisy):
    result = fit_memory(noisy, modes=1, progress=False)
    assert any("no transition was found" in w for w in result.warnings)


def test_rates_that_disagree_are_named(fitted):
    """A stress that grows with the rate: 20 MPa from the slowest to the fastest."""
    for i, (test, fit) in enumerate(zip(fitted.tests, fitted.fitted, strict=True)):
        speed = 4.0 ** (i - 1)
        test.times[:] = np.arange(len(test.times)) / speed
        fit -= 7.0 * (i - 1) * np.sign(np.gradient(test.strain))
    rates = [w for w in about_fit(fitted) if "loading rates disagree" in w]
    assert len(rates) == 1


def test_a_test_of_another_material_is_named():
    tests = [*Wire().tests(3, seed=1), *Wire(modulus=30e3).tests(1, seed=2)]
    result = fit_memory(tests, progress=False, modes=2, hidden=())
    assert any(w.startswith("test 3 has an error of") for w in result.warnings)
