r"""Integrals of exp(-E), such as log Z: a method makes a rule, which is a set of weighted points.

.. math:: \int g(x) e^{-E(x)} dx \approx \sum_i w_i g(x_i) e^{-E(x_i)}

Quadrature nodes and importance samples both have this form, so log Z, its gradient, mode masses and
moments have one formula each. The points and weights carry no gradient; log Z has one through E:
d log Z = -E_q[dE].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lse_vi.distribution.box import Box
from lse_vi.network.potential import LSEICNN


@dataclass(frozen=True)
class Rule:
    """Weighted points for exp(-E), as a :class:`Method` makes them.

    Attributes:
        points: (n, *batch or 1s, dim).
        log_weights: log w_i, (n, *batch or 1s).
        error: of log Z, (*batch,), in nats.

    Example:
        >>> from lse_vi.distribution.quadrature import Quadrature
        >>> pot = LSEICNN(1, 3)
        >>> rule = Quadrature().rule(pot, Box.of((-1, 1), 1, pot.alpha))
        >>> rule.log_normalizer(pot).shape, rule.mode_weights(pot).shape
        (torch.Size([]), torch.Size([3]))
    """

    points: Tensor
    log_weights: Tensor
    error: Tensor

    def part(self, index: int, parts: int) -> Rule:
        """Part ``index`` (modulo ``parts``) of the points, reweighted to stand for all of them.

        Use it for minibatches of a rule of random draws, of which each part is a rule too.
        """
        size = len(self.points) // parts
        own = slice(index % parts * size, (index % parts + 1) * size)
        log_weights = self.log_weights[own] + math.log(len(self.points) / size)
        return Rule(self.points[own], log_weights, self.error)

    def energies(self, pot: LSEICNN, x: Tensor) -> tuple[Tensor, Tensor]:
        """E at ``x`` (n, *batch, dim), and log Z, by one pass: two passes cost more."""
        points = self.points.expand(-1, *x.shape[1:])
        energies, nodes = pot(torch.cat([x, points])).split([len(x), len(points)])
        return energies, torch.logsumexp(self.log_weights - nodes, dim=0)

    def log_normalizer(self, pot: LSEICNN) -> Tensor:
        """log Z, (*batch,), differentiable in the parameters of ``pot``."""
        return torch.logsumexp(self.log_weights - pot(self.points), dim=0)

    @torch.no_grad()
    def probabilities(self, pot: LSEICNN) -> Tensor:
        """The weight of each point under q, (n, *batch), which sum to one over the points."""
        return torch.softmax(self.log_weights - pot(self.points), dim=0)

    @torch.no_grad()
    def mode_weights(self, pot: LSEICNN) -> Tensor:
        """Mass of q for which each mode is responsible, E_q[r_k]: (*batch, modes)."""
        return (self.probabilities(pot).unsqueeze(-1) * pot.responsibilities(self.points)).sum(0)


class Nodes(Protocol):
    """Points with weights under q, as of a :class:`Rule`."""

    @property
    def points(self) -> Tensor:
        """(n, *batch or 1s, dim)."""
        ...

    def probabilities(self, pot: LSEICNN) -> Tensor:
        """The weight of each point under q, (n, *batch), which sum to one over the points."""
        ...


class Method(Protocol):
    """A way to integrate exp(-E) over a box or over R^d."""

    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """Weighted points for exp(-E), with the error of log Z."""
        ...
