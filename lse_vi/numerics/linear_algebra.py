"""Determinants, moduli and roots of the matrices that describe a peak."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST = 1e-10  # eigenvalue of |H|, relative to the largest


def laplace_mass(log_joint: Tensor, precision: Tensor) -> Tensor:
    """l - log det(precision)/2 + d/2 log 2 pi."""
    log_det = torch.linalg.slogdet(precision)[1]
    return log_joint - 0.5 * log_det + 0.5 * precision.shape[-1] * math.log(2 * math.pi)


def scale_tril(precision: Tensor) -> Tensor:
    """T, lower triangular, with T T^T = precision^-1: (*batch, dim, dim)."""
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(precision)))


def moduli(hessian: Tensor) -> Tensor:
    """|H|: the symmetric matrix with the moduli of the eigenvalues, none of them zero."""
    values, axes = torch.linalg.eigh(hessian)
    values = values.abs()
    smallest = max(SMALLEST, 16 * torch.finfo(hessian.dtype).eps)  # below it all is rounding
    values = values.clamp_min(smallest * values.amax(-1, keepdim=True).clamp_min(SMALLEST))
    return (axes * values.unsqueeze(-2)) @ axes.mT


def log_det(root: Tensor) -> Tensor:
    """log |det| of triangular matrices with positive diagonals, (*batch, n, n) -> (*batch,)."""
    return root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
