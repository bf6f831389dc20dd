"""The gene landscape: no stationary point is left out, the blend, the paths."""

import numpy as np
import pytest
from scipy.optimize import brentq, fsolve

from data_gen import waddington as wd


@pytest.mark.parametrize("truth", [wd.ONE_WELL, wd.TWO_WELLS], ids=lambda truth: truth.name)
def test_every_stationary_point_is_declared(truth):
    ticks = np.linspace(0.0, 2.5, 26)
    found = []
    for start in np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2):
        x, _, flag, _ = fsolve(lambda x: truth.gradient(x[None])[0], start, full_output=True)
        inside = ((x >= 0) & (x <= 2.5)).all()
        if flag == 1 and inside and np.abs(truth.gradient(x[None])).max() < 1e-8:
            found.append(x)
    unique = np.unique(np.round(found, 4), axis=0)
    declared = sorted(point.location for point in truth.stationary_points)
    np.testing.assert_allclose(unique, declared, atol=1.01e-4)


def central_curvature(b):
    """Second derivative across the line x1 = x2 at the central state."""
    x = brentq(lambda x: wd.gradient(np.array([x, x]), b)[0], 0.7, 1.0)
    ahead, behind = (wd.gradient(np.array([x + s, x - s]), b)[0] for s in (1e-5, -1e-5))
    return (ahead - behind) / 2e-5


def test_the_central_state_splits_at_the_critical_b():
    assert brentq(central_curvature, 0.1, 1.0) == pytest.approx(wd.B_CRITICAL, abs=5e-5)


def test_the_blend_reaches_the_critical_b_at_the_split_time():
    assert 0.1 + 0.9 * wd.blend(wd.SPLIT_TIME) == pytest.approx(wd.B_CRITICAL, abs=1e-3)
    assert wd.blend(0.0) == pytest.approx(wd.BLEND_START)
    s = wd.blend(np.array([2.0, 2.0 + 1e-6]))
    assert (s[1] - s[0]) / 1e-6 == pytest.approx(wd.BLEND_RATE * s[0] * (1 - s[0]), rel=1e-5)


def test_potential_is_linear_in_b():
    x = np.random.default_rng(0).uniform(0, 2.5, (10, 2))
    blended = 0.3 * wd.potential(x, 0.1) + 0.7 * wd.potential(x, 1.0)
    np.testing.assert_allclose(wd.potential(x, 0.3 * 0.1 + 0.7 * 1.0), blended, rtol=1e-12)


def test_paths_descend_to_the_wells():
    times = np.linspace(0, 40, 81)
    paths = wd.trajectories(1.0, times, 30, seed=2)
    energy = wd.potential(paths, 1.0)
    assert (np.diff(energy, axis=0) < 1e-9).all()
    high = np.where((paths[0, :, 0] > paths[0, :, 1])[:, None], [1.5440, 0.4056], [0.4056, 1.5440])
    np.testing.assert_allclose(paths[-1], high, atol=1e-3)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="b must be positive"):
        wd.trajectories(-1.0, [0.0, 1.0], 3, seed=0)
    with pytest.raises(ValueError, match="times must be strictly increasing"):
        wd.trajectories(1.0, [0.0, 0.0], 3, seed=0)
