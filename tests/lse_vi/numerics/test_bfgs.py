"""Batched ascents end where SciPy's optimiser does, each as if it were alone."""

import pytest
import torch

from lse_vi.numerics.bfgs import LEFT, WAIT, ascend


def ascend_on(problem, starts, **options):
    def value_and_gradient(x):
        return -problem.energy(x), -problem.gradient(x)

    return ascend(value_and_gradient, lambda x: -problem.hessian(x), starts, **options)


def test_where_an_ascent_has_converged_hardly_anything_is_left_to_gain(problem):
    """By SciPy from there, also in long and bent valleys: twice the quadratic model's limit."""
    ends = ascend_on(problem, problem.starts, steps=300)
    assert bool(ends.converged.all())
    left = -problem.by_scipy(ends.x).energy - ends.value
    assert left.max() < 2 * LEFT


def test_the_hessians_are_those_of_the_ends(problem):
    ends = ascend_on(problem, problem.starts, steps=300)
    torch.testing.assert_close(ends.hessian, -problem.hessian(ends.x))


def test_an_ascent_whose_curvature_is_unknown_does_not_converge(problems):
    """A Hessian that is not finite does not end the others' ascents, nor is it asked for ever."""
    problem, asked = problems["bowl"], []

    def holed(x):
        asked.append(len(x))
        hessian = -problem.hessian(x)
        hessian[::2] = torch.nan
        return hessian

    ends = ascend(lambda x: (-problem.energy(x), -problem.gradient(x)), holed, problem.starts)
    assert 10 <= int(ends.converged.sum()) <= 30
    assert len(asked) < 10


def test_no_ascent_goes_down_and_values_are_those_of_the_ends(problem):
    ends = ascend_on(problem, problem.starts)
    assert bool((ends.value >= -problem.energy(problem.starts)).all())
    torch.testing.assert_close(ends.value, -problem.energy(ends.x))
    torch.testing.assert_close(ends.gradient, -problem.gradient(ends.x))


@pytest.mark.parametrize("name", ["bowl", "quartic", "soft", "himmelblau"])
def test_curvature_is_learned_as_fast_as_by_scipy(problems, name):
    """Evaluations for each start: twice SciPy's at most, which searches lines more closely.

    An update that is wrong by a factor takes three times as many, steepest ascent a hundred.
    """
    problem, evaluated = problems[name], []

    def counted(x):
        evaluated.append(len(x))
        return -problem.energy(x), -problem.gradient(x)

    ascend(counted, lambda x: -problem.hessian(x), problem.starts, steps=300)
    assert sum(evaluated) < 2.5 * problem.by_scipy(problem.starts, gtol=1e-2).evaluations.sum()


def test_every_minimum_is_met_and_nothing_else(problems):
    """Himmelblau's four, from 40 starts, which SciPy meets too."""
    problem = problems["himmelblau"]
    minima = torch.tensor([[3.0, 2.0], [-2.805, 3.131], [-3.779, -3.283], [3.584, -1.848]])
    for ends in (ascend_on(problem, problem.starts).x, problem.expected.x):
        distance = torch.cdist(minima, ends)
        assert distance.amin(0).max() < 0.01
        assert distance.amin(1).max() < 0.01


def test_starts_do_not_know_of_one_another(problem):
    """Until the Hessian is asked, when all rest or the last are helped."""
    alone = ascend_on(problem, problem.starts[7:9], steps=WAIT)
    among = ascend_on(problem, problem.starts, steps=WAIT)
    torch.testing.assert_close(among.x[7:9], alone.x)
    assert torch.equal(among.converged[7:9], alone.converged)


def test_starts_without_a_value_are_left_out_and_the_others_keep_their_numbers(problems):
    problem = problems["bowl"]

    def holed(x):
        value, gradient = -problem.energy(x), -problem.gradient(x)
        return torch.where(x[:, 0] > 0, value, torch.nan), gradient

    starts = problem.starts
    ends = ascend(holed, lambda x: -problem.hessian(x), starts)
    usable = (starts[:, 0] > 0).nonzero().flatten()
    assert 0 < len(usable) < 40
    assert torch.equal(ends.rows, usable)
    assert ends.value.isfinite().all()


def test_an_ascent_without_a_summit_does_not_converge_and_leaves_its_path():
    """The value grows along the first axis without bound, and has a maximum along the second."""

    def value_and_gradient(x):
        slope = torch.stack([torch.ones(len(x)), -x[:, 1]], -1)
        return x[:, 0] - 0.5 * x[:, 1] ** 2, slope

    def hessian(x):
        return torch.diag(torch.tensor([0.0, -1.0])).expand(len(x), 2, 2)

    starts = torch.tensor([[0.0, 1.0], [1.0, -2.0], [5.0, 0.0]])
    ends = ascend(value_and_gradient, hessian, starts, paths=2)
    assert not bool(ends.converged.any())
    assert ends.trail.shape[1:] == (2, 2)
    assert bool((ends.trail[..., 0].diff(dim=0) >= 0).all())
    highest = ends.x[ends.value.argsort(descending=True)[:2]]
    torch.testing.assert_close(ends.trail[-1], highest)
