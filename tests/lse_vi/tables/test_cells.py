"""Values that many points share are cells: a fit of them is that of the points they stand for."""

import numpy as np
import pandas as pd
import pytest
import torch

from lse_vi import fit_density
from lse_vi.tables.cells import spread_over_cells

QUICK = {"progress": False, "restarts": 2, "modes": 4}


def histogram(seed=0):
    """Two groups of width 1.5 and 2, in bins of width 1."""
    rng = np.random.default_rng(seed)
    edges = np.arange(21.0)
    x = np.concatenate([rng.normal(5, 1.5, 300), rng.normal(14, 2, 200)])
    count = np.histogram(x, edges)[0]
    return edges[:-1] + 0.5, count, x


def test_points_spread_evenly_and_their_mean_stays():
    centre, count, _ = histogram()
    cells = spread_over_cells(centre[:, None], count)
    assert cells.steps.tolist() == [1.0]
    assert cells.weights.sum() == count.sum()
    assert cells.weights @ cells.x[:, 0] == pytest.approx(count @ centre)
    parts = np.sort(cells.x[np.abs(cells.x[:, 0] - 5.5) < 0.5, 0])
    np.testing.assert_allclose(np.diff(parts), 1 / 8)


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).normal(size=(300, 1)),  # no value twice
        np.arange(100.0)[:, None] % 50,  # two points on each
        np.array([0.0, 1.0])[:, None].repeat(50, 0),  # too few values for a grid
        np.array([0.0, 1.0, np.pi, 7.0]).repeat(50)[:, None],  # on no grid
    ],
)
def test_what_is_no_grid_or_hardly_shared_is_left_as_it_is(x):
    assert spread_over_cells(x, np.ones(len(x))) is None


def test_no_cell_reaches_beyond_a_wall_and_other_columns_stay():
    rng = np.random.default_rng(0)
    x = np.stack([rng.poisson(1.0, 200), rng.normal(size=200)], 1)
    cells = spread_over_cells(
        x, np.ones(200), (np.array([0.0, -np.inf]), np.array([np.inf, np.inf]))
    )
    assert cells.steps.tolist() == [1.0, 0.0]
    assert cells.x[:, 0].min() > 0
    assert set(cells.x[:, 1]) == set(x[:, 1])


@pytest.mark.parametrize("step", [1e-150, 0.1, 1.0, 1e6, 1e150])
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("move", [1e-9, 1e-7])
def test_values_that_are_moved_a_little_are_the_same_cells(step, offset, move):
    """Of a deviation, as rounding and other units move them: one bit must not make spikes."""
    rng = np.random.default_rng(0)
    x = (rng.poisson(3.0, (200, 1)) + offset) * step
    moved = x + move * x.std() * rng.standard_normal(x.shape)
    for each in (x, moved):
        steps = spread_over_cells(each, np.ones(200)).steps
        assert steps / step == pytest.approx([1.0], rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tight_groups_that_lie_as_on_a_grid_are_no_cells(dtype):
    rng = np.random.default_rng(0)
    x = np.arange(3.0).repeat(50) + 1e-4 * rng.standard_normal(150)
    assert spread_over_cells(x.astype(dtype)[:, None], np.ones(150)) is None


def test_the_number_of_modes_of_counts_that_are_moved_a_little():
    x = np.random.default_rng(0).poisson(3.0, 200).astype(float)
    for move in (0.0, 1e-9, 1e-6):
        y = x + move * x.std() * np.random.default_rng(1).standard_normal(200)
        assert int(fit_density(y, **QUICK).active_modes) == 1


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_histogram_with_counts_has_its_two_humps_and_repeated_points_give_the_same(seed):
    """Without points held out, which would choose between two states for each fit anew."""
    quick = {**QUICK, "held_out": 0.0}
    centre, count, x = histogram(seed)
    res = fit_density(centre, weights=count, **quick)
    assert int(res.active_modes) == int(res.peaks) == 2
    assert res.cells == (1.0,)
    assert "values that many points share are cells, 1 wide" in str(res)
    assert sorted(res.mode_locations.squeeze(-1).tolist()) == pytest.approx([5, 14], abs=0.5)
    again = fit_density(np.repeat(centre, count), **quick)
    grid = torch.linspace(0, 20, 200).unsqueeze(-1)
    torch.testing.assert_close(
        again.density.log_prob(grid), res.density.log_prob(grid), rtol=1e-8, atol=1e-8
    )
    points = fit_density(x, **quick)
    apart = (res.density.log_prob(grid).exp() - points.density.log_prob(grid).exp()).abs()
    assert float(apart.mean()) * 20 / 2 < 0.04  # cells of two thirds of a deviation widen a group


def test_small_counts_of_each_group_of_a_table():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"t": np.repeat([0, 1], 200), "n": rng.poisson(4.0, 400)})
    res = fit_density(table, value="n", by="t", **{**QUICK, "modes": 2, "polish": 50})
    assert res.active_modes.tolist() == [1, 1]
    assert res["1"].cells == (1.0,)
