"""Matrices of peaks: the mass of a Gaussian, its draws, and moduli of indefinite Hessians."""

import pytest
import torch
from torch.distributions import MultivariateNormal

from lse_vi.numerics.linear_algebra import (
    is_told,
    jacobian,
    laplace_mass,
    log_det,
    moduli,
    scale_tril,
)


def precisions(*batch, dim):
    root = torch.randn(*batch, dim, dim)
    return root @ root.mT + 0.1 * torch.eye(dim)


@pytest.mark.parametrize("dim", [1, 3])
def test_the_laplace_mass_of_a_gaussian_is_its_integral(dim):
    """log p at its peak is minus the log of the integral of exp(-x^T P x / 2)."""
    precision = precisions(4, dim=dim)
    at_peak = MultivariateNormal(torch.zeros(dim), precision_matrix=precision).log_prob(
        torch.zeros(dim)
    )
    torch.testing.assert_close(laplace_mass(torch.zeros(4), precision), -at_peak)


def test_a_scale_is_a_triangular_root_of_the_covariance():
    precision = precisions(2, 3, dim=4)
    scale = scale_tril(precision)
    assert torch.equal(scale, scale.tril())
    torch.testing.assert_close(scale @ scale.mT @ precision, torch.eye(4).expand(2, 3, 4, 4))


def test_what_is_told_from_zero_has_no_units():
    turned = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    for size in (1e-6, 1.0, 1e6):
        for least, told in ((1e-3, True), (1e-16, False), (-1e-16, False), (-1e-3, True)):
            values = torch.tensor([1.0, 0.5, 0.1, least], dtype=torch.float64)
            assert bool(is_told(moduli(size * (turned * values) @ turned.mT))) == told


def test_moduli_keep_the_axes_and_what_is_positive():
    hessian = precisions(5, dim=3)
    torch.testing.assert_close(moduli(hessian), hessian)
    torch.testing.assert_close(moduli(-hessian), hessian)
    turned = torch.linalg.qr(torch.randn(3, 3))[0]
    values = torch.tensor([4.0, -2.0, 1.0])
    found = moduli(turned @ torch.diag(values) @ turned.mT)
    torch.testing.assert_close(found, turned @ torch.diag(values.abs()) @ turned.mT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moduli_of_a_singular_matrix_can_be_inverted(dtype):
    for values in ([1.0, 0.0], [0.0, 0.0]):
        found = moduli(torch.diag(torch.tensor(values, dtype=dtype)))
        assert found.dtype == dtype
        assert bool((torch.linalg.eigvalsh(found) > 0).all())
        assert bool(torch.linalg.inv(found).isfinite().all())


def test_determinants_of_triangular_matrices():
    root = torch.linalg.cholesky(precisions(2, 3, dim=4))
    torch.testing.assert_close(log_det(root), torch.linalg.slogdet(root)[1])


def field(x):
    """(*shape, 3) -> (*shape, 2)."""
    return torch.stack([x[..., 0] * x[..., 1].sin(), x.square().sum(-1)], -1)


def test_jacobians_of_every_point_as_if_it_were_alone():
    x = torch.randn(4, 5, 3, requires_grad=True)
    found = jacobian(field(x), x)
    assert found.shape == (4, 5, 2, 3)
    for i in range(4):
        for j in range(5):
            alone = torch.autograd.functional.jacobian(field, x[i, j].detach())
            torch.testing.assert_close(found[i, j], alone)


def test_the_jacobian_of_a_gradient_is_the_hessian_and_can_be_differentiated():
    x = torch.randn(6, 3, requires_grad=True)
    energy = (x**4).sum(-1) / 12
    (slope,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
    hessian = jacobian(slope, x, create_graph=True)
    torch.testing.assert_close(hessian, torch.diag_embed(x**2))
    (third,) = torch.autograd.grad(hessian.sum(), x)
    torch.testing.assert_close(third, 2 * x)
