"""Functions to minimise from many starts, and the minima that SciPy finds from each of them."""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor


def bowl(x):
    """A quadratic of condition 100."""
    return 0.5 * (torch.logspace(0, 2, x.shape[-1], dtype=x.dtype) * x**2).sum(-1)


def valley(x):
    """A quadratic of condition 10,000."""
    return 0.5 * (torch.logspace(0, 4, x.shape[-1], dtype=x.dtype) * x**2).sum(-1)


def quartic(x):
    """Steep far out, flat in the middle, coupled."""
    own = torch.arange(1.0, x.shape[-1] + 1, dtype=x.dtype)
    return (x**4 / 4 + own * x**2 / 2 - x).sum(-1) + 0.3 * x.sum(-1) ** 2


def soft(x):
    """Of a logistic regression: linear far out, so that Newton's own step overshoots."""
    generator = torch.Generator().manual_seed(1)
    z = x @ torch.randn(x.shape[-1], 30, generator=generator, dtype=torch.float64).to(x)
    y = (torch.arange(30) % 3 == 0).to(z)
    return (torch.nn.functional.softplus(z) - y * z).sum(-1) + 0.05 * x.square().sum(-1)


def rosenbrock(x):
    """A valley that bends; in four dimensions a second minimum at 3.70."""
    return (100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2).sum(-1)


def himmelblau(x):
    """Four minima of the same depth, four saddles, a maximum."""
    a, b = x.unbind(-1)
    return (a**2 + b - 11) ** 2 + (a + b**2 - 7) ** 2


class Found(NamedTuple):
    """Where SciPy's BFGS ended from each start, (n, dim), (n,), and after how many looks, (n,)."""

    x: Tensor
    energy: Tensor
    evaluations: Tensor


class Problem:
    """A function (*shape, dim) -> (*shape,) with its derivatives, and 40 starts."""

    def __init__(self, function: Callable[[Tensor], Tensor], dim: int, spread: float) -> None:
        self.function, self.dim = function, dim
        generator = torch.Generator().manual_seed(0)
        self.starts = spread * torch.randn(40, dim, generator=generator, dtype=torch.float64)

    def energy(self, x: Tensor) -> Tensor:
        return self.function(x)

    @torch.enable_grad()
    def gradient(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(self.function(x).sum(), x)[0]

    @torch.enable_grad()
    def hessian(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.function(x).sum(), x, create_graph=True)
        rows = [
            torch.autograd.grad(part.sum(), x, retain_graph=True)[0] for part in slope.unbind(-1)
        ]
        return torch.stack(rows, -2)

    def by_scipy(self, starts: Tensor, *, gtol: float = 1e-8) -> Found:
        ends = [
            minimize(
                lambda z: float(self.function(torch.as_tensor(z))),
                start.numpy(),
                jac=lambda z: self.gradient(torch.as_tensor(z)).numpy(),
                method="BFGS",
                options={"gtol": gtol},
            )
            for start in starts
        ]
        x = torch.as_tensor(np.stack([end.x for end in ends]))
        energy = torch.tensor([end.fun for end in ends], dtype=torch.float64)
        return Found(x, energy, torch.tensor([end.nfev for end in ends]))

    @cached_property
    def expected(self) -> Found:
        return self.by_scipy(self.starts)


PROBLEMS = {
    "bowl": Problem(bowl, 5, 3.0),
    "valley": Problem(valley, 5, 3.0),
    "quartic": Problem(quartic, 6, 3.0),
    "soft": Problem(soft, 5, 3.0),
    "rosenbrock": Problem(rosenbrock, 2, 2.0),
    "rosenbrock-4": Problem(rosenbrock, 4, 1.5),
    "himmelblau": Problem(himmelblau, 2, 5.0),
}


@pytest.fixture(scope="session")
def problems():
    return PROBLEMS


@pytest.fixture(params=PROBLEMS, scope="session")
def problem(request):
    return PROBLEMS[request.param]


@pytest.fixture(params=["bowl", "valley", "quartic", "soft", "rosenbrock"], scope="session")
def problem_of_one_minimum(request):
    return PROBLEMS[request.param]
