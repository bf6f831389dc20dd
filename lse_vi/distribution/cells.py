"""Cells of a box, of any sizes: halved where an integrand needs it, and left alone elsewhere."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lse_vi.distribution.box import Box
from lse_vi.network.potential import LSEICNN


class Cells(NamedTuple):
    """Axis-aligned boxes with centres ``center`` and half-widths ``half``, (n, dim) each."""

    center: Tensor
    half: Tensor

    @classmethod
    def of(cls, box: Box, per_axis: int) -> Cells:
        """Equal cells, ``per_axis`` along each axis.

        Example:
            >>> len(Cells.of(Box.of((-1, 1), 2, torch.zeros(())), 8).center)
            64
        """
        dim = len(box.low)
        ticks = (torch.arange(per_axis).to(box.low) + 0.5) / per_axis
        grid = torch.cartesian_prod(*[ticks] * dim).reshape(-1, dim)
        half = (box.width / per_axis / 2).expand_as(grid)
        return cls(box.low + grid * box.width, half)

    def select(self, index: Tensor) -> Cells:
        """The cells at ``index``, numbers or a mask."""
        return Cells(self.center[index], self.half[index])

    def halved(self) -> Cells:
        """Each cell cut in two along every axis; the 2^dim parts of a cell are neighbours."""
        dim = self.center.shape[-1]
        half = (self.half / 2).unsqueeze(1)
        signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * dim).reshape(-1, dim)
        parts = self.center.unsqueeze(1) + half * signs.to(half)
        return Cells(parts.flatten(0, 1), half.expand_as(parts).flatten(0, 1))

    def cut(self, index: Tensor) -> Cells:
        """The cells at ``index`` halved, behind the others."""
        others = torch.ones(len(self.center), dtype=torch.bool, device=index.device)
        others[index] = False
        parts = self.select(index).halved()
        return Cells(*map(torch.cat, zip(self.select(others), parts, strict=True)))

    def nodes(self, order: int) -> tuple[Tensor, Tensor]:
        """Gauss-Legendre: points (n, order^dim, dim) and log weights (n, order^dim)."""
        t, log_w = (
            torch.as_tensor(part).to(self.half) for part in _gauss(order, self.half.shape[-1])
        )
        points = self.center.unsqueeze(1) + self.half.unsqueeze(1) * t
        return points, log_w + self.half.log().sum(-1, keepdim=True)


class CellIntegrals(NamedTuple):
    """Gauss-Legendre in cells: the nodes, and the integral of exp(-E) over each cell.

    Attributes:
        points: (cells, nodes, *1s, dim).
        log_weights: (cells, nodes, *1s).
        value: log of the integrals, (cells, *batch).
        rounding: relative error of the integrals by rounding of E, (cells, *batch).
    """

    points: Tensor
    log_weights: Tensor
    value: Tensor
    rounding: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, pot: LSEICNN, cells: Cells, order: int) -> CellIntegrals:
        """By ``order`` nodes per axis in each cell."""
        ones = (1,) * len(pot.batch_shape)
        points, log_w = cells.nodes(order)
        points = points.reshape(*log_w.shape, *ones, pot.dim)
        log_w = log_w.reshape(*log_w.shape, *ones)
        energy = pot(points.flatten(0, 1)).unflatten(0, log_w.shape[:2])
        rounding = torch.finfo(energy.dtype).eps * (1 + energy.abs().amin(1))
        return cls(points, log_w, (log_w - energy).logsumexp(1), rounding)


@lru_cache(maxsize=32)
def _gauss(order: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre on [-1, 1]^dim: points (order^dim, dim) and log weights (order^dim,)."""
    t, w = np.polynomial.legendre.leggauss(order)
    grid = np.stack(np.meshgrid(*[t] * dim, indexing="ij"), -1).reshape(-1, dim)
    weights = np.sum(np.meshgrid(*[np.log(w)] * dim, indexing="ij"), axis=0).ravel()
    return grid, weights
