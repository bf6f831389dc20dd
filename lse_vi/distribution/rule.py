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
from lse_vi.distribution.modes import SingleModes, log_weights
from lse_vi.network.potential import LSEICNN

# Share of the mass that a point holds at least, where others are left out: all others together
# hold less than a rounding, and a fit would have to rise by thirty nats there to make up a mass.
CARRYING = 1e-20
# Points that are evaluated together with the nodes: more are in pieces that stay in the cache.
ONE_PASS = 2**13


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


@dataclass(frozen=True)
class ModeRule:
    r"""Weighted points of each mode of a mixture, rho = 1; does what :class:`Rule` does.

    .. math:: Z = \frac1K \sum_k s_k \int e^{-f_k(x)} dx

    A rule for the whole density evaluates every mode at every point, which costs K times as much.

    Attributes:
        own_points: (n, *batch, modes, dim).
        own_log_weights: log w, (n, *batch, modes).
        error: of log Z, (*batch,), in nats.

    Example:
        >>> from lse_vi import Quadrature, WhitenedICNN
        >>> from lse_vi.distribution.quadrature import mode_rule
        >>> pot = LSEICNN(1, 3, rho=1.0, network=WhitenedICNN)
        >>> rule = mode_rule(Quadrature(tolerance=1e-4), pot)
        >>> rule.log_normalizer(pot).shape, rule.mode_weights(pot).shape
        (torch.Size([]), torch.Size([3]))
    """

    own_points: Tensor
    own_log_weights: Tensor
    error: Tensor

    @property
    def points(self) -> Tensor:
        """The points of all modes, one mode after another for each: (n * modes, *batch, dim)."""
        return self.own_points.movedim(-2, 1).flatten(0, 1)

    def part(self, index: int, parts: int) -> ModeRule:
        """All points: a part of a quadrature does not stand for the rest."""
        return self

    def carrying(self, pot: LSEICNN) -> ModeRule:
        """The points that carry mass: near a wall most of a product rule lie beyond it."""
        logs = self._log_masses(pot)
        share = (logs - logs.logsumexp((0, -1), keepdim=True)).exp()
        most = max(1, int((share > CARRYING).sum(0).max()))
        order = share.topk(most, dim=0).indices
        points = torch.take_along_dim(self.own_points, order.unsqueeze(-1), 0)
        return ModeRule(points, torch.take_along_dim(self.own_log_weights, order, 0), self.error)

    def energies(self, pot: LSEICNN, x: Tensor) -> tuple[Tensor, Tensor]:
        """E at ``x`` (n, *batch, dim), and log Z, by one pass where two cost more."""
        if len(x) > ONE_PASS:
            return pot(x), self.log_normalizer(pot)
        shared = x.unsqueeze(-2).expand(*x.shape[:-1], pot.modes, pot.dim)
        f = SingleModes(pot.network.stack()).value(torch.cat([shared, self.own_points]))
        logits = log_weights(pot) - f
        log_q, own = logits.split([len(x), len(self.own_points)])
        return -log_q.logsumexp(-1), (self.own_log_weights + own).logsumexp((0, -1))

    def log_normalizer(self, pot: LSEICNN) -> Tensor:
        """log Z, (*batch,), differentiable in the parameters of ``pot``."""
        return self._log_masses(pot).logsumexp((0, -1))

    @torch.no_grad()
    def probabilities(self, pot: LSEICNN) -> Tensor:
        """The weight of each of the :attr:`points` under q, which sum to one over the points."""
        return self._log_masses(pot).movedim(-1, 1).flatten(0, 1).softmax(0)

    @torch.no_grad()
    def mode_weights(self, pot: LSEICNN) -> Tensor:
        """Mass of each mode, (*batch, modes)."""
        return self._log_masses(pot).logsumexp(0).softmax(-1)

    def _log_masses(self, pot: LSEICNN) -> Tensor:
        """What each point contributes to log Z, (n, *batch, modes)."""
        f = SingleModes(pot.network.stack()).value(self.own_points)
        return self.own_log_weights + log_weights(pot) - f


AnyRule = Rule | ModeRule
"""What log Z may be found by."""


class Method(Protocol):
    """A way to integrate exp(-E) over a box or over R^d."""

    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """Weighted points for exp(-E), with the error of log Z."""
        ...
