r"""log Z of a mixture, mode by mode: each is evaluated at points of its own alone.

.. math:: Z = \frac1K \sum_k s_k \int e^{-f_k(x)} dx \qquad (\rho = 1)

A rule for the whole density evaluates every mode at every point, which costs K times as much.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lse_vi.distribution.modes import SingleModes, log_weights
from lse_vi.distribution.quadrature import Quadrature
from lse_vi.distribution.rule import Rule
from lse_vi.network.potential import LSEICNN

# Share of the mass that a point holds at least, where others are left out: all others together
# hold less than a rounding, and a fit would have to rise by thirty nats there to make up a mass.
CARRYING = 1e-20


@dataclass(frozen=True)
class ModeRule:
    """Weighted points of each mode of a mixture; what :class:`~lse_vi.distribution.rule.Rule` does.

    Attributes:
        own_points: (n, *batch, modes, dim).
        own_log_weights: log w, (n, *batch, modes).
        error: of log Z, (*batch,), in nats.

    Example:
        >>> from lse_vi import WhitenedICNN
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
        """E at ``x`` (n, *batch, dim), and log Z, by one pass: two passes cost more."""
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


FitRule = Rule | ModeRule
"""What a fit finds log Z by."""


@torch.no_grad()
def mode_rule(method: Quadrature, pot: LSEICNN) -> ModeRule:
    """The nodes of ``method`` that carry mass, for a mixture on R^d with rho = 1."""
    return ModeRule(*method.mode_nodes(pot)).carrying(pot)
