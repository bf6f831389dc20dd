"""A list of tests becomes the wire that made them, with errors that hold the truth."""

import copy
import pickle

import numpy as np
import pytest
import torch

from data_gen.superelastic import Transformation, Wire, growing_loops
from lse_vi import Elastic, Play, fit_memory

NOISE = 4.0
QUIET = {"progress": False}


def wire(hardening):
    return Wire((Transformation(hardening=hardening),))


def paths(count, hardening, peak, seed):
    """Noise-free paths of a wire, and paths that are not fitted."""
    rng = np.random.default_rng(seed)
    strains = [growing_loops(peak, rng) for _ in range(count + 10)]
    tests = [(e, wire(hardening).respond(e).stress) for e in strains]
    return tests[:count], tests[count:]


def r2(result, tests):
    exact = np.concatenate([stress for _, stress in tests])
    guess = np.concatenate([result.predict(strain) for strain, _ in tests])
    return 1 - np.mean((guess - exact) ** 2) / exact.var()


def check_noise_free(hardening, peak, count, seed):
    fitted, unseen = paths(count, hardening, peak, seed)
    result = fit_memory(fitted, **QUIET)
    assert r2(result, unseen) > 0.999999999
    transition = result.transitions[0]
    truth = {"mixing": 64.0 + 0.04 * hardening, "threshold": 8.0, "strain": 0.04}
    for name, value in truth.items():
        found = getattr(transition, name)
        if transition.complete:
            assert found.value == pytest.approx(value, rel=1e-6)
        else:
            assert found.at_least <= value * (1 + 1e-6)
    assert transition.start.value == pytest.approx(400.0, rel=1e-6)
    assert transition.back_end.value == pytest.approx(200.0, rel=1e-6)


@pytest.mark.parametrize(
    ("hardening", "peak"), [(0.0, 0.06), pytest.param(2000.0, 0.12, marks=pytest.mark.slow)]
)
def test_a_wire_without_noise_is_found_to_rounding(hardening, peak):
    check_noise_free(hardening, peak, count=5, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("hardening", "peak"), [(0.0, 0.06), (2000.0, 0.06), (2000.0, 0.12)])
def test_forty_paths_without_noise(hardening, peak, seed):
    check_noise_free(hardening, peak, count=40, seed=seed)


def check_noisy(hardening, seed):
    material = wire(hardening)
    tests = material.tests(5, noise=NOISE, seed=seed)
    unseen = material.tests(5, noise=NOISE, seed=seed + 100)
    result = fit_memory(tests, **QUIET)
    errors = [result.predict(t.strain) - t.stress for t in unseen]
    assert np.sqrt(np.mean(np.concatenate(errors) ** 2)) < 1.15 * NOISE
    assert result.held_out_rmse < 1.15 * NOISE
    assert result.phases == 2
    transition = result.transitions[0]
    for found, truth in ((transition.mixing, 64.0 + 0.04 * hardening), (transition.threshold, 8.0)):
        if found.determined:
            assert found.value == pytest.approx(truth, rel=0.1)
            assert abs(found.value - truth) < 5 * found.error
        else:
            assert found.at_least == found.value < 1.02 * truth
    lost = [material.respond(t.strain).dissipation for t in tests]
    exact = [lost[e.test][e.loop.first + 1 : e.loop.last + 1].sum() for e in result.energies]
    for energy, truth in zip(result.energies, exact, strict=True):
        if truth > 0.1 * max(exact):
            assert energy.model == pytest.approx(truth, rel=0.03)
            assert energy.data == pytest.approx(truth, rel=0.1, abs=0.02 * max(exact))


@pytest.mark.parametrize("hardening", [0.0, 2000.0])
def test_noisy_tests_give_the_wire_within_their_errors(hardening):
    check_noisy(hardening, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 10))
@pytest.mark.parametrize("hardening", [0.0, 2000.0])
def test_more_noisy_tests(hardening, seed):
    check_noisy(hardening, seed)


def test_units_change_nothing(noisy, fitted):
    percent = [(100 * t.strain, 1e6 * t.stress) for t in noisy]
    other = fit_memory(percent, **QUIET)
    assert other.phases == fitted.phases
    ours = fitted.predict(noisy[0].strain)
    np.testing.assert_allclose(other.predict(100 * noisy[0].strain), 1e6 * ours, rtol=0, atol=1)
    for name, unit in (("mixing", 1e8), ("threshold", 1e8), ("strain", 100), ("start", 1e6)):
        ours, theirs = (getattr(r.transitions[0], name) for r in (fitted, other))
        assert theirs.value == pytest.approx(unit * ours.value, rel=1e-6)
        assert theirs.error == pytest.approx(unit * ours.error, rel=1e-4)
    assert other.r2 == pytest.approx(fitted.r2, abs=1e-9)


def test_units_change_nothing_of_a_transition_that_stays_open():
    """What the model has beyond the end of the tests is arbitrary, and not told."""
    tests = wire(2000.0).tests(2, seed=6)
    ours = fit_memory(tests, **QUIET)
    other = fit_memory([(100 * t.strain, 1e6 * t.stress) for t in tests], **QUIET)
    for name, unit in (("mixing", 1e8), ("threshold", 1e8), ("strain", 100), ("start", 1e6)):
        a, b = (getattr(r.transitions[0], name).value for r in (ours, other))
        assert b == pytest.approx(unit * a, rel=1e-6)
    assert "never complete" in str(ours)


def test_a_result_says_what_was_found(fitted):
    text = str(fitted)
    for words in ("3 tests", "2 phases", "held out  R2 0.99", "RMSE", "lost in", "k+ + k-"):
        assert words in text
    assert isinstance(fitted.model, Play)
    assert fitted.warnings == []
    assert fitted.energy_error < 0.03
    assert [len(f) for f in fitted.fitted] == [len(t.strain) for t in fitted.tests]
    for again in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        path = fitted.tests[0].strain
        np.testing.assert_array_equal(again.predict(path), fitted.predict(path))


def test_prediction_takes_one_path_and_refuses_the_rest(fitted):
    path = [0.0, 0.03, 0.0]
    np.testing.assert_array_equal(fitted.predict(path), fitted.predict(torch.tensor(path).double()))
    for wrong, match in ((0.1, "one column"), ([0.1], "two values"), ([0, np.nan], "finite")):
        with pytest.raises(ValueError, match=match):
            fitted.predict(wrong)


def test_the_random_state_is_left_alone_and_two_fits_agree(noisy, fitted):
    state = torch.get_rng_state()
    again = fit_memory(noisy, **QUIET)
    assert torch.equal(torch.get_rng_state(), state)
    path = noisy[0].strain
    np.testing.assert_array_equal(again.predict(path), fitted.predict(path))


def test_no_loop_is_an_elastic_material_and_says_so():
    strain = np.concatenate([np.linspace(0, 0.01, 40), np.linspace(0.01, 0, 40)])
    noise = np.random.default_rng(0).standard_normal(80)
    result = fit_memory([(strain, 40e3 * strain + noise)], **QUIET)
    assert type(result.model) is Elastic
    assert result.phases == 1
    assert result.transitions == ()
    assert result.warnings == []


def test_resampled_tests_give_the_same_wire(noisy, fitted):
    result = fit_memory(noisy, resample=25, **QUIET)
    assert max(len(t.strain) for t in result.tests) < 330
    ours, theirs = result.transitions[0].threshold, fitted.transitions[0].threshold
    assert ours.value == pytest.approx(theirs.value, abs=5 * (ours.error + theirs.error))


def test_settings_that_cannot_be_are_refused(noisy):
    for settings, match in (
        ({"modes": 0}, "modes must be at least 1"),
        ({"resample": 0}, "resample must be at least 1"),
        ({"hidden": (0,)}, "hidden must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
    ):
        with pytest.raises(ValueError, match=match):
            fit_memory(noisy, **settings, **QUIET)
    with pytest.raises(TypeError, match="checkpoint"):
        fit_memory(noisy, checkpoint="fit.pt", **QUIET)


VARIANTS = {
    "set": (Wire((Transformation(down=-100.0),)), {"peak": 0.06}, 2),
    "sides": (
        Wire((Transformation(0.04, 400, 200, 1000), Transformation(-0.025, 600, 350, 1500))),
        {"peak": 0.06, "both_sides": True},
        3,
    ),
    "two plateaus": (
        Wire((Transformation(0.015, 300, 150, 300), Transformation(0.02, 700, 550, 500))),
        {"peak": 0.07},
        3,
    ),
    "incomplete": (Wire(), {"peak": 0.035}, 2),
    "one test": (Wire(), {"count": 1}, 2),
    "blurred strain": (Wire(), {"strain_noise": 2e-4}, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 5, 7])
@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_found(name, seed):
    material, options, phases = VARIANTS[name]
    tests = material.tests(**{"count": 5, "noise": NOISE} | options, seed=seed)
    result = fit_memory(tests, **QUIET)
    assert result.phases == phases
    exact = [material.respond(t.strain).stress for t in tests]
    guess = [result.predict(t.strain) for t in tests]
    error = np.sqrt(np.mean((np.concatenate(guess) - np.concatenate(exact)) ** 2))
    blur = 40e3 * options.get("strain_noise", 2e-5)  # of the exact stress at the measured strain
    assert error < 0.3 * NOISE + blur
    assert any("no loop completes" in w for w in result.warnings) == (
        not all(t.complete for t in result.transitions)
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_outliers_are_set_aside(seed):
    rng = np.random.default_rng(seed)
    tests = []
    for time, strain, stress in Wire().tests(5, noise=NOISE, seed=seed):
        wrong = rng.uniform(size=len(time)) < 0.05
        tests.append((time, strain, stress + 300 * wrong * rng.standard_normal(len(time))))
    result = fit_memory(tests, **QUIET)
    assert result.phases == 2
    assert result.transitions[0].threshold.value == pytest.approx(8.0, rel=0.03)
    assert result.rmse < 1.15 * NOISE
    assert any("left out" in warning for warning in result.warnings)
