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


def scale_tril(precision: Tensor) -> Tensor:
    """The ``scale_tril`` T of a Gaussian, T T^T = precision^-1: (*batch, dim, dim)."""
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(precision)))


def moduli(hessian: Tensor) -> Tensor:
    """|H|: H with its eigenvalues replaced by their moduli, (*batch, dim, dim), none zero.

    Use it as a precision where a Hessian may be indefinite.

    Example:
        >>> moduli(torch.diag(torch.tensor([2.0, -3.0]))).diagonal()
        tensor([2., 3.])
    """
    values, axes = torch.linalg.eigh(hessian)
    values = values.abs()
    smallest = max(SMALLEST, ROUNDINGS * torch.finfo(hessian.dtype).eps)
    values = values.clamp_min(smallest * values.amax(-1, keepdim=True).clamp_min(SMALLEST))
    return (axes * values.unsqueeze(-2)) @ axes.mT


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
