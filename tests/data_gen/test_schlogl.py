"""The Schlögl network against the facts that it declares."""

import numpy as np
import pytest
from scipy.optimize import brentq

from data_gen import schlogl


def peaks(law):
    """Counts above both neighbours, apart from the noise where nothing is."""
    inner = law[1:-1]
    return np.flatnonzero((inner > law[:-2]) & (inner > law[2:]) & (inner > 1e-12)) + 1


def low_mass(law):
    return law[..., : schlogl.LOW_MAX + 1].sum(axis=-1)


def test_propensities_are_those_of_the_paper():
    n = np.arange(1201.0)
    k1, k2, k3, k4, a, b = 3e-7, 1e-4, 1e-3, 3.5, 1e5, 2e5
    expected = [k1 * a * n * (n - 1) / 2, k2 * n * (n - 1) * (n - 2) / 6, k3 * b + 0 * n, k4 * n]
    actual = schlogl.network().propensities(n[:, None])
    np.testing.assert_allclose(actual, np.transpose(expected), rtol=1e-13)


def test_fixed_points():
    np.testing.assert_allclose(schlogl.fixed_points(), schlogl.FIXED_POINTS, atol=0.005)
    drift = schlogl.drift()
    brackets = [(0, 150), (150, 400), (400, 800)]
    np.testing.assert_allclose(
        schlogl.fixed_points(), [brentq(drift, *ends) for ends in brackets], rtol=1e-9
    )


def test_law_shapes_and_normalisation():
    laws = schlogl.law(np.array([10.0, 0.0, 0.5]))
    assert laws.shape == (3, schlogl.N_MAX + 1)
    assert (laws >= 0).all()
    np.testing.assert_allclose(laws.sum(axis=1), 1.0, atol=1e-11)
    assert laws[1, schlogl.X0] == 1.0
    assert laws[0, -1] < 1e-50
    np.testing.assert_allclose(schlogl.law(10.0), laws[0], atol=1e-12)


def test_law_turns_bimodal():
    times = np.array([0.5, 1.0, 1.5, 2.0, 4.0, 6.0, 8.0, 10.0])
    laws = schlogl.law(times)
    assert [len(peaks(law)) for law in laws] == [1 + int(t >= schlogl.BIMODAL_FROM) for t in times]
    assert low_mass(laws[-1]) == pytest.approx(schlogl.LOW_MASS_AT_10, abs=5e-4)


def test_stationary_law():
    pi = schlogl.stationary()
    assert tuple(peaks(pi)) == schlogl.STATIONARY_MODES
    assert low_mass(pi) == pytest.approx(schlogl.STATIONARY_LOW_MASS, abs=5e-5)


@pytest.mark.parametrize("bad", [-1.0, np.nan, [1.0, np.inf]])
def test_bad_times(bad):
    with pytest.raises(ValueError, match="times must be"):
        schlogl.law(bad)
