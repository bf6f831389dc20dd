"""Steps depend on the path and not on its samples; values pass both ways."""

from itertools import pairwise

import pytest
import torch

from lse_vi.materials.grids import EvenSteps, Grid, SampleSteps, arrival, last, pick, read


def path(*turns):
    """Paths (times, 1, 2) through the given points."""
    return torch.tensor(turns).unsqueeze(1)


@pytest.fixture
def bent():
    return path([0.0, 0.0], [0.3, 0.4], [0.3, 0.4], [0.3, -0.6], [0.0, -0.6])


def test_even_steps_are_short_and_hold_the_turning_points(bent):
    grid = Grid(EvenSteps(0.11)(bent))
    assert grid.position.flatten().tolist() == pytest.approx([0, 5, 5, 15, 18])
    steps = grid.refine(bent)
    assert len(steps) == 19
    assert (steps.diff(dim=0).norm(dim=-1) <= 0.11 + 1e-12).all()
    for i in (0, 1, 3, 4):
        assert (steps - bent[i]).norm(dim=-1).min() < 1e-12


def test_samples_on_straight_stretches_change_nothing(bent):
    share = torch.cat([torch.zeros(1), torch.rand(5).sort().values]).reshape(6, 1, 1)
    stretches = [torch.lerp(a, b, share) for a, b in pairwise(bent)]
    denser = torch.cat([*stretches, bent[-1:]])
    steps = Grid(EvenSteps(0.11)(denser)).refine(denser)
    torch.testing.assert_close(steps, Grid(EvenSteps(0.11)(bent)).refine(bent))


@pytest.mark.parametrize("rest", range(5))
def test_a_sample_taken_twice_changes_nothing(bent, rest):
    """Neither on a straight stretch, at a turning point, nor at an end."""
    straight = path([0.0], [0.5], [1.0])
    for points, longest in ((bent, 0.11), (straight, 0.4)):
        rest = min(rest, len(points) - 1)
        twice = torch.cat([points[: rest + 1], points[rest:]])
        one, two = (EvenSteps(longest)(each) for each in (points, twice))
        torch.testing.assert_close(two, torch.cat([one[: rest + 1], one[rest:]]))
    assert last(EvenSteps(0.4)(straight)) == 3


def test_a_curve_is_followed():
    angle = torch.linspace(0, 3.0, 2000)
    curve = torch.stack([angle.cos(), angle.sin()], dim=-1).unsqueeze(1)
    steps = Grid(EvenSteps(0.05)(curve)).refine(curve)
    assert 60 <= len(steps) - 1 <= 2000
    torch.testing.assert_close(steps.norm(dim=-1), torch.ones(len(steps), 1), atol=1e-5, rtol=0)


def test_samples_as_steps_are_the_samples():
    points = torch.randn(7, 3, 2)
    grid = Grid(SampleSteps()(points))
    torch.testing.assert_close(grid.refine(points), points)
    torch.testing.assert_close(read(points, grid.position), points)


@pytest.mark.parametrize("steps", [EvenSteps(0.11), EvenSteps(9.0), SampleSteps()])
def test_a_sample_lies_within_the_step_that_arrives_at_it(bent, steps):
    grid = Grid(steps(bent))
    nodes = grid.refine(bent)
    step, share = arrival(grid.position)
    assert ((step >= 0) & (step < len(nodes) - 1)).all()
    assert ((share >= 0) & (share <= 1)).all()
    assert share[[0, -1], 0].tolist() == [0.0, 1.0]
    start, end = pick(nodes, step), pick(nodes, step + 1)
    torch.testing.assert_close(torch.lerp(start, end, share.unsqueeze(-1)), bent)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_there_and_back_for_paths_of_different_lengths(dtype):
    points = (torch.tensor([1.0, 0.1, 3.0]).reshape(1, 3, 1) * torch.randn(9, 3, 2)).to(dtype)
    position = EvenSteps(0.2)(points)
    grid = Grid(position)
    steps = grid.refine(points)
    assert steps.dtype == dtype
    assert len(steps) == last(position) + 1
    torch.testing.assert_close(read(steps, position), points, atol=1e-3, rtol=0)
    some = torch.tensor([1])
    assert last(position[:, some]) < last(position)
    torch.testing.assert_close(
        steps[last(position[:, some]) :, 1],
        points[-1:, 1].expand(len(steps) - last(position[:, some]), 2),
        atol=1e-4,
        rtol=0,
    )  # at rest at its end


def test_a_longest_step_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="longest"):
        EvenSteps(0.0)
