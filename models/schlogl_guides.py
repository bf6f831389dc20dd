"""The guides of the Schlögl study: over ``theta`` (batch, size), a block for each time.

Those of :mod:`lse_vi.guides` and :mod:`lse_vi.bayesian` cannot stand in for them: they approximate
one posterior over a vector of latents, while here the posteriors of eleven times, independent of
one another, are trained in one batch, without the correlations between times that a normal over all
of ``theta`` would have. For a model of your own take :func:`lse_vi.fit_guide`.

Which guide gives honest bands was measured (``docs/studies.md``): :class:`BlockNormal` does, and
the bands of the others are too wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, PyroParam
from torch import Tensor

RANK = 5  # of the covariance of `low_rank`, besides its diagonal


class Point(PyroModule):
    """A guide that is one point for each data set: SVI with it finds the posterior mode."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.loc = PyroParam(start.clone())

    def forward(self) -> Tensor:
        """The point, as a sample of ``theta``: (batch, size)."""
        with pyro.plate("set", len(self.loc), dim=-1):
            return pyro.sample("theta", dist.Delta(self.loc, event_dim=1))


class BlockNormal(PyroModule):
    """A guide for ``theta``: a normal with full covariance for each data set, none between them.

    Its parameters are those of a normal in the units of ``root``, which makes them equally easy to
    move. It starts narrow: growing into the posterior is far less noisy than shrinking into it.

    Args:
        center: where the means start, (batch, size).
        root: Cholesky factors of a first guess of the covariances, (batch, size, size).
        scale: standard deviations at the start, in units of ``root``.
    """

    def __init__(self, center: Tensor, root: Tensor, scale: float = 0.05) -> None:
        super().__init__()
        self.register_buffer("center", center)
        self.register_buffer("root", root)
        self.shift = PyroParam(torch.zeros_like(center))
        self.log_scale = PyroParam(torch.full_like(center, math.log(scale)))
        self.lower = PyroParam(torch.zeros_like(root))

    def forward(self) -> Tensor:
        """Sample ``theta``, (*particles, batch, size)."""
        unit = torch.eye(self.center.shape[-1]).to(self.center) + self.lower.tril(-1)
        tril = self.root @ (self.log_scale.exp().unsqueeze(-1) * unit)
        loc = self.center + (self.root @ self.shift.unsqueeze(-1)).squeeze(-1)
        with pyro.plate("set", len(loc), dim=-1):
            return pyro.sample("theta", dist.MultivariateNormal(loc, scale_tril=tril))


class Normal(PyroModule):
    """A guide for ``theta`` with a covariance of ``rank`` besides its diagonal; 0 is mean-field.

    Args:
        center: where the means start, (batch, size).
        root: Cholesky factors of a first guess of the covariances, (batch, size, size): their
            diagonals set the scale of the start, as in :class:`BlockNormal`.
        rank: number of directions in which coordinates move together.
    """

    def __init__(self, center: Tensor, root: Tensor, rank: int, scale: float = 0.05) -> None:
        super().__init__()
        sd = root.square().sum(-1).sqrt()
        self.register_buffer("center", center)
        self.register_buffer("sd", sd)
        self.shift = PyroParam(torch.zeros_like(center))
        self.log_scale = PyroParam(torch.full_like(center, math.log(scale)))
        self.factor = PyroParam(0.1 * scale * torch.randn(*center.shape, rank).to(center))

    def forward(self) -> Tensor:
        """Sample ``theta``, (*particles, batch, size)."""
        loc = self.center + self.sd * self.shift
        scale = self.sd * self.log_scale.exp()
        factor = self.sd.unsqueeze(-1) * self.factor
        law = (
            dist.LowRankMultivariateNormal(loc, factor, scale.square())
            if factor.shape[-1]
            else dist.Normal(loc, scale).to_event(1)
        )
        with pyro.plate("set", len(loc), dim=-1):
            return pyro.sample("theta", law)


class Laplace(PyroModule):
    """The normal of the posterior's mode and curvature, with nothing to train."""

    def __init__(self, center: Tensor, root: Tensor) -> None:
        super().__init__()
        self.register_buffer("center", center)
        self.register_buffer("root", root)

    def forward(self) -> Tensor:
        """Sample ``theta``, (*particles, batch, size)."""
        with pyro.plate("set", len(self.center), dim=-1):
            law = dist.MultivariateNormal(self.center, scale_tril=self.root)
            return pyro.sample("theta", law)


GUIDES: dict[str, Callable[[Tensor, Tensor], PyroModule]] = {
    "full": BlockNormal,
    "low_rank": lambda center, root: Normal(center, root, RANK),
    "mean_field": lambda center, root: Normal(center, root, 0),
    "laplace": Laplace,
}
