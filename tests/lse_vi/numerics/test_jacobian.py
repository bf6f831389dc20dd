"""Jacobians of many points at once."""

import torch

from lse_vi.numerics.jacobian import jacobian


def field(x):
    """(*shape, 3) -> (*shape, 2)."""
    return torch.stack([x[..., 0] * x[..., 1].sin(), x.square().sum(-1)], -1)


def test_of_every_point_as_if_it_were_alone():
    x = torch.randn(4, 5, 3, requires_grad=True)
    found = jacobian(field(x), x)
    assert found.shape == (4, 5, 2, 3)
    for i in range(4):
        for j in range(5):
            alone = torch.autograd.functional.jacobian(field, x[i, j].detach())
            torch.testing.assert_close(found[i, j], alone)


def test_of_a_gradient_it_is_the_hessian_and_can_be_differentiated():
    x = torch.randn(6, 3, requires_grad=True)
    energy = (x**4).sum(-1) / 12
    (slope,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
    hessian = jacobian(slope, x, create_graph=True)
    torch.testing.assert_close(hessian, torch.diag_embed(x**2))
    (third,) = torch.autograd.grad(hessian.sum(), x)
    torch.testing.assert_close(third, 2 * x)
