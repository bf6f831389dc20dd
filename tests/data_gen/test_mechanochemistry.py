"""The mechanochemical energy: its wells, its symmetry, the extrapolation path."""

import itertools

import numpy as np

from data_gen import mechanochemistry as mc

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(*mc.BOUNDS.T, size=(20, 7))


def test_depths_of_the_wells():
    tetragonal = np.array(mc.TETRAGONAL_WELLS)
    np.testing.assert_allclose(mc.potential(tetragonal), -0.6, atol=1e-12)
    np.testing.assert_allclose(mc.gradient(tetragonal)[:, :6], 0.0, atol=1e-11)
    np.testing.assert_allclose(np.hypot(*mc.strains(tetragonal)[:, 1:3].T), mc.S_E)
    assert mc.potential(np.array([0, 0, 0, 0, 0, 0, 1.0])) == 0.0


def test_cubic_symmetry():
    """Permuting the axes leaves the energy as it is."""
    for axes in itertools.permutations(range(3)):
        turned = POINTS.copy()
        turned[:, :3] = POINTS[:, axes]
        turned[:, 3:6] = POINTS[:, [3 + axis for axis in axes]]  # E23 belongs to axis 1, ...
        np.testing.assert_allclose(mc.potential(turned), mc.potential(POINTS), rtol=1e-10)


def test_strains_keep_the_norm_of_the_tensor():
    normal, shear = POINTS[:, :3], POINTS[:, 3:6]
    expected = (normal**2).sum(-1) + 2 * (shear**2).sum(-1)
    np.testing.assert_allclose((mc.strains(POINTS) ** 2).sum(-1), expected, rtol=1e-12)


def test_path_leaves_the_bounds_at_one_half():
    inside = (mc.path([0.5]) <= mc.BOUNDS[:, 1]) & (mc.path([0.5]) >= mc.BOUNDS[:, 0])
    assert inside.all()
    assert not (mc.path([0.51]) <= mc.BOUNDS[:, 1]).all()
    assert mc.path(np.linspace(0, 1, 5)).shape == (5, 7)


def test_sample_is_reproducible():
    x, gradient = mc.sample(10, seed=1)
    np.testing.assert_array_equal(x, mc.sample(10, seed=1)[0])
    np.testing.assert_array_equal(gradient, mc.gradient(x))
