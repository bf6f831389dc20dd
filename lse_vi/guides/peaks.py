"""Peaks of a log joint: what a search found, in one batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lse_vi.joint.log_joint import LogJoint
from lse_vi.numerics.linear_algebra import is_told, laplace_mass, scale_tril

# Log share beside a point on a path to infinity; its mass by Laplace may be far off, not so far.
MADE_BY_ROUNDING = -48.0


@dataclass(frozen=True)
class Peaks:
    """Peaks of the log joint, heaviest first: what a search found, to look at before a fit.

    Attributes:
        x: locations in unconstrained coordinates, (peaks, dim).
        log_joint: l at the peaks, in nats, (peaks,).
        precision: |H|, the modulus of the Hessian of -l, (peaks, dim, dim).
        hits: number of ascents that ended at the peak, (peaks,).
        proper: False for a point on a path to infinity in place of a maximum, (peaks,).
    """

    x: Tensor
    log_joint: Tensor
    precision: Tensor
    hits: Tensor
    proper: Tensor

    def __len__(self) -> int:
        return len(self.x)

    @property
    def log_mass(self) -> Tensor:
        """Laplace's approximation of the log evidence of each peak, in nats, (peaks,)."""
        return laplace_mass(self.log_joint, self.precision)

    @property
    def real(self) -> Peaks:
        """The maxima among them, or all of them where there are none.

        A point on a path to infinity helps to place a guide on a skewed posterior. But it is no
        mode, and its mass by Laplace's approximation may be far off.
        """
        return self.select(self.proper) if bool(self.proper.any()) else self

    @property
    def sound(self) -> Peaks:
        """All but maxima that rounding may have made, beside a point on a path to infinity.

        There are such maxima far down in the neck of a funnel, where the scale is near zero. They
        weigh nothing, or their curvature along some axis is not told from zero, so that they may as
        well be points of the path, and they weigh less than the heaviest of those.
        """
        strays = self.log_mass[~self.proper]
        if not len(strays):
            return self
        above = self.log_mass - strays.amax()
        told = is_told(self.precision)
        return self.select(~self.proper | (above > 0) | ((above > MADE_BY_ROUNDING) & told))

    @property
    def scale_tril(self) -> Tensor:
        """T, lower triangular, with T T^T = |H|^-1: (peaks, dim, dim)."""
        return scale_tril(self.precision)

    def distance(self, x: Tensor) -> Tensor:
        """Mahalanobis distance of ``x`` (n, dim) from each peak, (n, peaks)."""
        step = x.unsqueeze(-2) - self.x
        return torch.einsum("nki,kij,nkj->nk", step, self.precision, step).clamp_min(0).sqrt()

    def outside(self, log_joint: LogJoint) -> Peaks:
        """These peaks, in the units of ``log_joint``, in unconstrained coordinates."""
        scale = log_joint.scale * torch.ones_like(self.x[0])
        return self._moved(log_joint.shift * torch.ones_like(scale), scale)

    def inside(self, log_joint: LogJoint) -> Peaks:
        """These peaks, in unconstrained coordinates, in the units of ``log_joint``."""
        scale = 1 / (log_joint.scale * torch.ones_like(self.x[0]))
        return self._moved(-log_joint.shift * scale, scale)

    def _moved(self, shift: Tensor, scale: Tensor) -> Peaks:
        """The peaks in coordinates shift + scale x."""
        return replace(
            self,
            x=shift + scale * self.x,
            log_joint=self.log_joint - scale.log().sum(),
            precision=self.precision / scale / scale.unsqueeze(1),
        )

    def select(self, index: Tensor) -> Peaks:
        """The peaks at ``index``."""
        return Peaks(*(part[index] for part in vars(self).values()))

    def first(self, index: Tensor) -> Peaks:
        """The peaks at ``index``, then the others."""
        rest = torch.ones_like(self.proper).index_fill(0, index, False)
        return self.select(torch.cat([index, rest.nonzero().squeeze(1)]))

    def join(self, other: Peaks) -> Peaks:
        """These peaks, then those of ``other``."""
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return Peaks(*map(torch.cat, both))
