"""Labels of exchangeable components, put in one order."""

import numpy as np
import pytest

from lse_vi.numerics.relabelling import orders


@pytest.mark.parametrize(("components", "entries"), [(2, 1), (3, 2), (6, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_shuffled_components_come_back(components, entries, seed):
    """Well apart in at least one entry: every draw is put right."""
    rng = np.random.default_rng(seed)
    places = 10.0 * np.arange(components)[:, None] * np.eye(1, entries)  # alike but for one entry
    ordered = places + rng.standard_normal((300, components, entries))
    shuffled = rng.permuted(np.tile(np.arange(components), (300, 1)), axis=1)
    x = np.take_along_axis(ordered, shuffled[:, :, None], 1)
    like = places + rng.standard_normal((50, components, entries))
    found = np.take_along_axis(x, orders(x, like)[:, :, None], 1)
    np.testing.assert_array_equal(found, ordered)


@pytest.mark.parametrize("scale", [1e-150, 1e-6, 1e6, 1e150])
def test_any_units(scale):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3, 2)) + 2 * np.arange(3)[:, None]
    x = rng.permuted(x, axis=1)
    like = rng.standard_normal((50, 3, 2)) + 2 * np.arange(3)[:, None]
    np.testing.assert_array_equal(orders(scale * x, scale * like), orders(x, like))


def test_components_that_overlap_are_told_by_where_they_are_widest_apart():
    """A narrow and a wide component at one place: the widths tell them, more often than not."""
    rng = np.random.default_rng(0)
    ordered = rng.standard_normal((4000, 2, 4)) * np.array([0.2, 2.0])[:, None]
    swap = rng.random(4000) < 0.5
    x = np.where(swap[:, None, None], ordered[:, ::-1], ordered)
    found = np.take_along_axis(x, orders(x, ordered[:100])[:, :, None], 1)
    assert (found == ordered).all((1, 2)).mean() > 0.99


def test_a_component_that_never_varies():
    x = np.array([[[1.0], [2.0]], [[2.0], [1.0]], [[1.0], [2.0]]])
    assert orders(x, x[:1]).tolist() == [[0, 1], [1, 0], [0, 1]]
