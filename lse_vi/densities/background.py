r"""A broad part beside the modes of a density, for points that belong to none of them.

.. math:: q(x) \propto e^{-E(x)} + \epsilon \, u(x)

with u a Gaussian over the whole range of the data. How much of the mass it gets is trained with the
offset of E, which is free otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Normal

from lse_vi.densities.data_source import Points
from lse_vi.distribution.box import Box
from lse_vi.network.icnn import whitened
from lse_vi.network.potential import LSEICNN

# epsilon, the mass of the background in units of that of the modes where exp(-E) is normalised, as
# it is at the start: of strays there are few.
LEVEL = 0.01


@dataclass(frozen=True)
class Background:
    """A Gaussian that is as wide as the data, strays included; on a box what lies in it.

    Args:
        loc: the middle of the range of the data, (dim,).
        scale: half that range, (dim,): no point is further than one deviation in any coordinate.
        box: the support, None for R^d.
    """

    loc: Tensor
    scale: Tensor
    box: Box | None

    @classmethod
    def of(cls, points: Points, box: Box | None) -> Background:
        """The background of data, in standardised units as ``box`` is."""
        mean, deviation = points.moments
        low, high = (edge.double().reshape(-1, len(mean)) for edge in points.extremes)
        low, high = (low.amin(0) - mean) / deviation, (high.amax(0) - mean) / deviation
        return cls((low + high) / 2, (high - low) / 2, box)

    def log_density(self, x: Tensor) -> Tensor:
        """log(epsilon u(x)), (*shape, dim) -> (*shape)."""
        law = Normal(self.loc.to(x), self.scale.to(x))
        return law.log_prob(x).sum(-1) + self._height

    @cached_property
    def _height(self) -> float:
        """log epsilon, and what the box cuts off."""
        if self.box is None:
            return math.log(LEVEL)
        law = Normal(self.loc, self.scale)
        inside = law.cdf(self.box.high.double()) - law.cdf(self.box.low.double())
        return math.log(LEVEL) - float(inside.log().sum())

    def energy(self, energy: Tensor, x: Tensor) -> Tensor:
        """-log(exp(-E) + epsilon u), for the energies E (*shape) at ``x`` (*shape, dim)."""
        return -torch.logaddexp(-energy, self.log_density(x))

    def log_normalizer(self, log_z: Tensor) -> Tensor:
        """The log integral of exp(-E) + epsilon u, for the log integral of exp(-E)."""
        return torch.logaddexp(log_z, torch.full_like(log_z, math.log(LEVEL)))

    def modes_share(self, pot: LSEICNN, x: Tensor) -> Tensor:
        """The probability that points are of the modes, (n, *batch, dim) -> (n, *batch)."""
        return torch.sigmoid(-pot(x) - self.log_density(x))

    @torch.no_grad()
    def joined(self, pot: LSEICNN) -> LSEICNN:
        """``pot``, with rho = 1, and the background as one more mode, the last: a Gaussian."""
        depth, both = len(pot.batch_shape), pot.blank(pot.modes + 1)
        network = whitened(both.network)
        factor = torch.diag(1 / self.scale).expand_as(network.off_diagonal)
        network.reset_parameters(self.loc.expand_as(network.loc), factor)
        network.icnn.weight.zero_()  # the correction to a Gaussian becomes a constant
        for name, own in both.named_parameters():
            value = pot.get_parameter(name)
            (own if name == "log_rho" else own.narrow(depth, 0, pot.modes)).copy_(value)
        # exp(-E) is the mean of s_k exp(-f_k) over the modes, of which there is one more now.
        loc = self.loc.to(both.alpha)
        height = self.log_density(loc) + math.log(both.modes)
        offset = torch.full_like(both.alpha, math.log(pot.modes / both.modes))
        offset[..., -1] = (both.log_gates - network(loc))[..., -1] - height
        network.add_offset_(offset)
        return both
