"""Newton's descent: where SciPy's optimiser ends, from every start, and never at a saddle."""

import pytest
import torch
from scipy.optimize import minimize

from lse_vi.numerics.newton import descend


def descend_from(problem, x, **options):
    return descend(problem.energy, problem.gradient, problem.hessian, x, **options)


def test_every_start_reaches_the_minimum_that_scipy_finds(problem_of_one_minimum):
    problem = problem_of_one_minimum
    end = descend_from(problem, problem.starts)
    assert bool(end.converged.all())
    torch.testing.assert_close(end.energy, problem.expected.energy, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(end.x, problem.expected.x, rtol=0, atol=1e-6)


def test_every_end_is_a_minimum_that_scipy_cannot_improve(problem):
    """Where there are several, either may be reached; a saddle or a slope is none."""
    end = descend_from(problem, problem.starts)
    assert bool(end.converged.all())
    assert bool((torch.linalg.eigvalsh(end.hessian)[..., 0] > 0).all())
    assert bool((problem.energy(end.x) <= problem.energy(problem.starts)).all())
    improved = problem.by_scipy(end.x)
    torch.testing.assert_close(end.energy, improved.energy, rtol=1e-10, atol=1e-10)


def test_starts_of_any_shape_go_their_own_ways(problem):
    """What happens to one start does not depend on the others."""
    many = descend_from(problem, problem.starts.reshape(4, 10, -1))
    assert many.x.shape == (4, 10, problem.dim)
    assert many.energy.shape == many.converged.shape == (4, 10)
    some = descend_from(problem, problem.starts[10:13])
    torch.testing.assert_close(many.x[1, :3], some.x, rtol=0, atol=1e-8)


@pytest.mark.parametrize("away", [1e-3, 1e-6])
def test_beside_a_saddle_it_goes_down(away):
    """E = x^2/2 - y^2/2 + y^4/4: Newton's own step would go to the saddle at zero."""

    def energy(x):
        return 0.5 * x[..., 0] ** 2 - 0.5 * x[..., 1] ** 2 + 0.25 * x[..., 1] ** 4

    def gradient(x):
        return torch.stack([x[..., 0], x[..., 1] ** 3 - x[..., 1]], -1)

    def hessian(x):
        return torch.diag_embed(torch.stack([1 + 0 * x[..., 0], 3 * x[..., 1] ** 2 - 1], -1))

    start = torch.tensor([[1.0, away], [1.0, -away]])
    end = descend(energy, gradient, hessian, start)
    torch.testing.assert_close(end.x, torch.tensor([[0.0, 1.0], [0.0, -1.0]]), rtol=0, atol=1e-6)


def test_no_step_is_longer_than_allowed():
    """A basin is left by a step that is too long: two wells, and a start on the outer slope."""

    def energy(x):
        return (x[..., 0] ** 2 - 1) ** 2

    def gradient(x):
        return 4 * x * (x**2 - 1)

    def hessian(x):
        return (12 * x**2 - 4).unsqueeze(-1)

    seen = []

    def watched(x):
        seen.append(x.clone())
        return gradient(x)

    end = descend(energy, watched, hessian, torch.tensor([[3.0], [-0.01]]), max_length=0.25)
    assert (torch.stack(seen).diff(dim=0).abs() <= 0.25 + 1e-12).all()
    torch.testing.assert_close(end.x, torch.tensor([[1.0], [-1.0]]), rtol=0, atol=1e-6)


def test_single_precision_ends_where_double_does(problem_of_one_minimum):
    """As low up to twenty roundings of the energy: seven are measured, of a valley."""
    problem = problem_of_one_minimum
    end = descend_from(problem, problem.starts.float(), max_steps=1000)
    assert end.x.dtype == end.energy.dtype == torch.float32
    assert bool(end.converged.all())
    lowest, eps = problem.expected.energy, torch.finfo(torch.float32).eps
    assert ((end.energy.double() - lowest).abs() < 20 * eps * (1 + lowest.abs())).all()


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.float32,
    ],
)
def test_a_descent_that_ran_out_of_steps_has_not_converged(problems, dtype):
    """Rosenbrock's valley from (-6, 0): after ten steps there are 20 or more to go down."""
    start = torch.tensor([[-6.0, 0.0]], dtype=dtype)
    end = descend_from(problems["rosenbrock"], start, max_steps=10)
    assert float(end.energy) > 10
    assert not bool(end.converged)


def test_within_a_box_it_ends_where_scipy_does(problem_of_one_minimum):
    """On a side, in a corner or inside: the box is moved over the minimum."""
    problem = problem_of_one_minimum
    for shift in (-1.5, -0.5, 0.0, 0.5, 1.5):
        low = problem.expected.x.reshape(-1, problem.dim)[0] + shift - 1
        high = low + 2
        starts = problem.starts.clamp(low, high)
        end = descend_from(problem, starts, within=(low, high))
        assert bool(end.converged.all())
        best = minimize(
            lambda x: float(problem.energy(torch.as_tensor(x))),
            starts[0].numpy(),
            jac=lambda x: problem.gradient(torch.as_tensor(x)).numpy(),
            bounds=list(zip(low.tolist(), high.tolist(), strict=True)),
            options={"ftol": 1e-15, "gtol": 1e-10},
        )
        torch.testing.assert_close(
            end.energy, torch.full_like(end.energy, best.fun), rtol=1e-8, atol=1e-8
        )
        assert bool(((end.x >= low) & (end.x <= high)).all())


def test_within_any_box_a_convex_function_ends_at_one_minimum(problems):
    """Starts on sides and in corners too: a coordinate beside a side must not block the others."""
    generator = torch.Generator().manual_seed(0)
    for name in ("bowl", "valley", "quartic", "soft"):
        problem = problems[name]
        for _ in range(20):
            shift, starts = (
                torch.randn(41, problem.dim, generator=generator).double().split([1, 40])
            )
            low = problem.expected.x[0] + 1.2 * shift[0] - 1
            starts = (3 * starts).clamp(low, low + 2)
            end = descend_from(problem, starts, within=(low, low + 2))
            assert bool(end.converged.all())
            gap = end.energy - end.energy.amin()
            assert bool((gap <= 1e-10 * (1 + end.energy.abs())).all())
