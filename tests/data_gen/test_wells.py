"""The three functions with wells: what they declare, and that no well is left out."""

import numpy as np
import pytest

from data_gen import wells


@pytest.mark.parametrize(
    ("truth", "depths"),
    [
        (wells.DOUBLE, [-0.5736, -0.2833]),
        (wells.MODULATED, [0.2266, -0.0014, -0.0014, 0.2266]),
        (wells.MINIMUM, [0.1, -0.025, 0.05]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_wells_are_where_a_fine_grid_sees_them(truth, depths):
    x = np.linspace(*truth.bounds[0], 60_001)[:, None]
    y = truth.potential(x)
    low = np.flatnonzero((y[1:-1] < y[:-2]) & (y[1:-1] < y[2:])) + 1
    declared = [p.location for p in truth.stationary_points if p.kind == "minimum"]
    np.testing.assert_allclose(x[low], declared, atol=1.5e-4)
    np.testing.assert_allclose(y[low], depths, atol=6e-5)


def test_modulated_is_concave_beyond_2_768():
    x = np.array([[2.76], [2.775]])
    step = 1e-5
    curvature = wells.MODULATED.gradient(x + step) - wells.MODULATED.gradient(x - step)
    assert curvature[0, 0] > 0 > curvature[1, 0]


def test_samples_are_reproducible_and_on_the_curve():
    x, y = wells.sample(wells.MINIMUM, 300, seed=4)
    again, _ = wells.sample(wells.MINIMUM, 300, seed=4)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(y, wells.MINIMUM.potential(x))
    assert x.min() >= -3
    assert x.max() <= 3


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="n must be at least 1"):
        wells.sample(wells.DOUBLE, 0, seed=0)
    with pytest.raises(TypeError, match="seed must be an integer"):
        wells.sample(wells.DOUBLE, 5, seed=0.5)
