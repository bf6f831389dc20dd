"""Least squares: linear problems at once, curved ones to rounding, gauges left alone."""

import pytest
import torch

from lse_vi.numerics.least_squares import least_squares


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_problem_is_solved_with_its_weights(seed):
    torch.manual_seed(seed)
    a, y, w = torch.randn(30, 4), torch.randn(30), torch.rand(30)
    end = least_squares(lambda x: a @ x - y, lambda x: a, torch.zeros(4), weight=w)
    root = w.sqrt()
    exact = torch.linalg.lstsq(root.unsqueeze(-1) * a, (root * y).unsqueeze(-1)).solution[:, 0]
    torch.testing.assert_close(end.x, exact, atol=1e-7, rtol=1e-6)
    assert end.cost == pytest.approx(float((w * (a @ exact - y).square()).sum()))


def test_rosenbrock_from_afar():
    def residuals(x):
        return torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])

    def jacobian(x):
        one = torch.ones(())
        return torch.stack(
            [torch.stack([-20 * x[0], 10 * one]), torch.stack([-one, torch.zeros(())])]
        )

    start = torch.tensor([-1.2, 1.0])
    end = least_squares(residuals, jacobian, start, weight=torch.ones(2), steps=100)
    torch.testing.assert_close(end.x, torch.ones(2), atol=1e-8, rtol=0)


def test_a_parameter_without_effect_stays():
    a = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [2.0, 0.0, 1.0]])
    y = torch.tensor([1.0, 2.0, 3.0])
    end = least_squares(
        lambda x: a @ x - y, lambda x: a, torch.full((3,), 0.7), weight=torch.ones(3)
    )
    assert float(end.x[1]) == 0.7


def test_a_step_to_infinity_is_not_taken():
    def residuals(x):
        return torch.where(x > 2, torch.inf, x - 1)

    end = least_squares(
        residuals,
        lambda x: torch.full((1, 1), -0.1),
        torch.zeros(1),
        weight=torch.ones(1),
        steps=20,
    )
    assert torch.isfinite(end.x).all()
    assert end.cost <= 1.0
