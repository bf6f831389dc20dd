"""Matrices that describe a peak: Hessians, determinants, roots, moduli of eigenvalues."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Least eigenvalue of |H|, relative to the largest, which counts as at least this large itself:
# the inverse of |H| then stays finite, even for H = 0 (dimensionless).
SMALLEST = 1e-10
ROUNDINGS = 16  # machine epsilons, relative to the largest, below which an eigenvalue is rounding


def laplace_mass(log_joint: Tensor, precision: Tensor) -> Tensor:
    """Laplace's approximation of a peak's log mass: l - log det(P)/2 + d/2 log 2 pi.

    Use it to compare peaks of a posterior by their evidence.

    Args:
        log_joint: l, the log density at the peak in nats, (*batch,).
        precision: P, minus the Hessian of the log density there, (*batch, d, d).

    Example:
        >>> laplace_mass(torch.zeros(5), torch.eye(2).expand(5, 2, 2)).shape
        torch.Size([5])
    """
    log_det = torch.linalg.slogdet(precision)[1]
    return log_joint - 0.5 * log_det + 0.5 * precision.shape[-1] * math.log(2 * math.pi)


def precision_root(precision: Tensor) -> Tensor:
    """U, upper triangular, with U U^T the precision of a Gaussian: (*batch, dim, dim).

    Its inverse is the root of the covariance, see :func:`scale_tril`.
    """
    return torch.linalg.cholesky(precision.flip(-2, -1)).flip(-2, -1)


def scale_tril(precision: Tensor) -> Tensor:
    """The ``scale_tril`` T of a Gaussian, T T^T = precision^-1: (*batch, dim, dim).

    The covariance itself is not formed: of a badly scaled precision it may have no root, by
    rounding.

    Example:
        >>> scale_tril(torch.diag(torch.tensor([4.0, 1e12]))).diagonal()
        tensor([5.0000e-01, 1.0000e-06])
    """
    root = precision_root(precision)
    one = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
    return torch.linalg.solve_triangular(root.mT, one, upper=False)


def moduli(hessian: Tensor) -> Tensor:
    """|H|: H with its eigenvalues replaced by their moduli, (*batch, dim, dim), none zero.

    Use it as a precision where a Hessian may be indefinite.

    Example:
        >>> moduli(torch.diag(torch.tensor([2.0, -3.0]))).diagonal()
        tensor([2., 3.])
    """
    values, axes = torch.linalg.eigh(hessian)
    values = values.abs()
    values = values.clamp_min(_smallest(values) * values.amax(-1, keepdim=True).clamp_min(SMALLEST))
    return (axes * values.unsqueeze(-2)) @ axes.mT


def is_told(precision: Tensor) -> Tensor:
    """Whether the curvature along every axis of a :func:`moduli` is more than rounding, (*batch,).

    Example:
        >>> is_told(moduli(torch.eye(2))), is_told(moduli(torch.ones(2, 2)))
        (tensor(True), tensor(False))
    """
    values = torch.linalg.eigvalsh(precision)
    return values[..., 0] > 2 * _smallest(values) * values[..., -1]


def _smallest(values: Tensor) -> float:
    """The least eigenvalue that is told from zero, relative to the largest."""
    return max(SMALLEST, ROUNDINGS * torch.finfo(values.dtype).eps)


def log_det(root: Tensor) -> Tensor:
    """log |det| of triangular matrices with positive diagonals, (*batch, n, n) -> (*batch,)."""
    return root.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def jacobian(values: Tensor, x: Tensor, *, create_graph: bool = False) -> Tensor:
    """Derivatives of ``values`` (*shape, m) by ``x`` (*shape, dim): (*shape, m, dim).

    Use it for a Hessian, with a gradient as ``values``. Every row of ``values`` must depend on the
    same row of ``x`` alone: then one backward pass for each of the m columns is enough.

    Args:
        values: (*shape, m), computed from ``x`` with a graph.
        x: (*shape, dim), requires grad.
        create_graph: keep the graph, for derivatives of the result.

    Example:
        >>> x = torch.randn(5, 3, requires_grad=True)
        >>> jacobian(x.square(), x).shape
        torch.Size([5, 3, 3])
    """
    rows = [
        torch.autograd.grad(component.sum(), x, create_graph=create_graph, retain_graph=True)[0]
        for component in values.unbind(-1)
    ]
    return torch.stack(rows, dim=-2)
