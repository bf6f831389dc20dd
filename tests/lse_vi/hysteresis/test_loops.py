"""What loops say by themselves: turns, areas, scatter, spikes, correlation."""

import numpy as np
import pytest

from data_gen.superelastic import Wire
from lse_vi.hysteresis.loops import (
    alone,
    averaged,
    loops,
    opening,
    scatter,
    strain_spikes,
    thinned,
    together,
    turns,
    work,
)

SEEDS = range(3)


def zigzag(knots, points=40):
    steps = np.arange(len(knots) - 1) * points
    x = np.arange(steps[-1] + points + 1.0)
    return np.interp(x, np.append(steps, steps[-1] + points), knots)


@pytest.mark.parametrize("seed", SEEDS)
def test_turns_are_found_in_noise(seed):
    knots = [0.0, 0.6, 0.3, 1.0, 0.0, -0.8, 0.0, 0.2]
    noise = 0.003 * np.random.default_rng(seed).standard_normal(281)
    found = turns(zigzag(knots) + noise, 1.8)
    expected = np.array([0, 1, 2, 3, 5, 7]) * 40  # 0.0 on the way down is no turn
    np.testing.assert_allclose(found, expected, atol=3)


def test_a_loop_is_there_and_back():
    strain = zigzag([0.0, 0.5, 0.1, 1.0, 0.0])
    assert [tuple(loop) for loop in loops(strain, 1.0)] == [(0, 40, 80), (80, 120, 160)]
    assert loops(np.linspace(0, 1, 50), 1.0) == []


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_area_of_a_loop_is_positive_and_negative_when_swapped(side):
    strain = zigzag([0.0, 0.06, 0.0], points=500)
    stress = side * Wire().respond(strain).stress
    loop = loops(side * strain, 0.06)[0]
    assert opening(side * strain, stress, loop) == pytest.approx(8.0, rel=0.01)
    assert work(side * strain, stress) == pytest.approx(8.0, rel=0.01)
    for swapped in loops(stress, float(np.ptp(stress))):
        assert opening(stress, side * strain, swapped) < 0


@pytest.mark.parametrize("noise", [0.5, 4.0])
def test_scatter_is_the_noise_whatever_the_loop(noise):
    tests = Wire().tests(20, noise=noise, strain_noise=0.0)
    found = [scatter(t.strain, t.stress, 0.06) for t in tests]
    # The median of 400 rows that overlap by two has an error of some 6 %.
    assert np.mean(found) == pytest.approx(noise, rel=0.1)  # corners of the loops add some 6 %


@pytest.mark.parametrize("seed", SEEDS)
def test_spikes_of_strain_are_put_back_and_turns_are_not(seed):
    test = Wire().tests(1, seed=seed)[0]
    np.testing.assert_array_equal(strain_spikes(test.strain), test.strain)
    spoiled = test.strain.copy()
    rows = np.arange(20, len(spoiled) - 20, 37)
    spoiled[rows] += 0.03
    spoiled[rows[::2] + 1] += 0.025
    step = np.abs(np.diff(test.strain)).max()
    assert np.abs(strain_spikes(spoiled) - test.strain).max() < 4 * step


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_that_stand_alone_are_found_and_errors_of_a_model_are_not(seed):
    rng = np.random.default_rng(seed)
    residual = rng.standard_normal(400)
    assert not alone(residual, 1000.0).any()
    residual[100:150] += 15.0
    assert not alone(residual, 1000.0)[103:147].any()
    residual[[50, 51, 230]] += 40.0
    assert alone(residual, 1000.0)[[50, 51, 230]].all()
    assert not alone(1e-12 * residual, 1000.0).any()  # rounding


def test_rows_that_are_correlated_err_together():
    noise = np.random.default_rng(0).standard_normal(4000)
    assert together(noise) == pytest.approx(1.0, abs=0.15)
    assert together(np.repeat(noise[:400], 10)) == pytest.approx(10.0, rel=0.4)
    assert together(np.zeros(10)) == 1.0


def test_thinned_and_averaged_tests_keep_their_turns():
    strain = zigzag([0.0, 0.5, 0.1, 1.0, 0.0], points=1000)
    rows = thinned(strain, 100, 1.0)
    assert len(rows) < 110
    assert set(turns(strain, 1.0)) <= set(rows)
    short, row = averaged([strain, np.arange(len(strain), dtype=float)], 20, 1.0)
    assert len(short) == 4 * 20 + 5
    np.testing.assert_allclose(short[[0, 21, 42, 63, 84]], [0.0, 0.5, 0.1, 1.0, 0.0])
    np.testing.assert_allclose(np.interp(row, np.arange(len(strain)), strain), short)
