r"""log Z and other integrals of exp(-E): a method makes a rule, a rule is a set of weighted points.

.. math:: \int g(x) e^{-E(x)} dx \approx \sum_i w_i g(x_i) e^{-E(x_i)}

Quadrature nodes and importance samples have the same form, so log Z, its gradient, mode masses and
moments are each written once. The points and weights carry no gradient; log Z does, through E:
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
    """Points (n, *batch or 1s, dim), log weights (n, *batch or 1s), error of log Z (*batch,)."""

    points: Tensor
    log_weights: Tensor
    error: Tensor

    def part(self, index: int, parts: int) -> Rule:
        """One of ``parts`` runs of points, for the whole: of draws, each is a rule of its own."""
        size = len(self.points) // parts
        own = slice(index % parts * size, (index % parts + 1) * size)
        log_weights = self.log_weights[own] + math.log(len(self.points) / size)
        return Rule(self.points[own], log_weights, self.error)

    def log_normalizer(self, pot: LSEICNN) -> Tensor:
        """log Z, (*batch,), differentiable in the parameters of ``pot``."""
        return torch.logsumexp(self.log_weights - pot(self.points), dim=0)

    @torch.no_grad()
    def probabilities(self, pot: LSEICNN) -> Tensor:
        """The weight of each point under q, (n, *batch); they sum to one over the points."""
        return torch.softmax(self.log_weights - pot(self.points), dim=0)

    @torch.no_grad()
    def mode_weights(self, pot: LSEICNN) -> Tensor:
        """Mass of q for which each mode is responsible, E_q[r_k]: (*batch, modes)."""
        return (self.probabilities(pot).unsqueeze(-1) * pot.responsibilities(self.points)).sum(0)


class Method(Protocol):
    """A way to integrate exp(-E) over a box or over R^d."""

    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """Weighted points for exp(-E), with the error of log Z."""
        ...
