"""A landscape whose flow, stationary points and basins are known."""

import pytest
import torch


class Polynomial:
    """E = (x1^2 - 1)^2 + x2^2 + tilt x1: wells near (-1, 0) and (1, 0), a saddle between."""

    dim = 2

    def __init__(self, tilt=0.0):
        self.tilt = tilt

    def __call__(self, x):
        return (x[..., 0] ** 2 - 1) ** 2 + x[..., 1] ** 2 + self.tilt * x[..., 0]

    def gradient(self, x):
        return torch.stack([4 * x[..., 0] * (x[..., 0] ** 2 - 1) + self.tilt, 2 * x[..., 1]], -1)

    def hessian(self, x):
        return torch.diag_embed(torch.stack([12 * x[..., 0] ** 2 - 4, 2 + 0 * x[..., 1]], -1))


@pytest.fixture(scope="session")
def polynomial():
    return Polynomial


@pytest.fixture
def grid():
    """Points around both wells, (54, 2)."""
    return torch.cartesian_prod(torch.linspace(-2, 2, 9), torch.linspace(-1.5, 1, 6))
