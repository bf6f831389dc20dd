"""A posterior whose evidence is known: what the targets of the evidence benchmark are made of.

A target is a prior of independent coordinates and a log likelihood of rows, so that samplers that
start from the unit cube can have it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pyro
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Normal, Uniform

Rows = Callable[[Tensor], Tensor]  # points (n, dim) to one number each
Sampler = Callable[[int], Tensor]


@dataclass(frozen=True)
class Problem:
    """A posterior whose evidence is known.

    Attributes:
        name: as in the tables.
        prior: of each coordinate.
        log_likelihood: in nats, of rows.
        log_evidence: to four digits or better.
        weights: exact mass of each mode, (modes,); None where "modes" would be a matter of taste.
        mode_of: the mode to which each row belongs, (n,).
        sample: exact draws (n, dim); None where there are none.
        heavy: whether the tails are too heavy for means.
    """

    name: str
    prior: tuple[Distribution, ...]
    log_likelihood: Rows
    log_evidence: float
    weights: Tensor | None = None
    mode_of: Rows | None = None
    sample: Sampler | None = None
    heavy: bool = False

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.prior)

    def model(self) -> None:
        """The Pyro model, a site for each run of coordinates of the same prior."""
        x = []
        for k, (law, count) in enumerate(self.runs()):
            each = _pyro(law).expand((count,)).to_event(1)
            x.append(pyro.sample(f"x{k}", each))
        pyro.factor("likelihood", self.log_likelihood(torch.cat(x, -1)))

    def runs(self) -> list[tuple[Distribution, int]]:
        runs: list[tuple[Distribution, int]] = []
        for law in self.prior:
            if runs and runs[-1][0] is law:
                runs[-1] = (law, runs[-1][1] + 1)
            else:
                runs.append((law, 1))
        return runs


def _pyro(law: Distribution) -> Distribution:
    """The same law as Pyro knows it."""
    given = {name: getattr(law, name) for name in law.arg_constraints}
    return getattr(pyro.distributions, type(law).__name__)(**given)


def number(value: float) -> Tensor:
    """A scalar in double precision."""
    return torch.tensor(value, dtype=torch.float64)


def normal(loc: float, scale: float) -> Normal:
    return Normal(number(loc), number(scale))


def uniform(low: float, high: float) -> Uniform:
    return Uniform(number(low), number(high))


def on_grid(log_p: Tensor, axes: tuple[Tensor, ...]) -> tuple[float, Sampler]:
    """log of the integral of exp(log_p) by the midpoints' rule, and draws even in each cell."""
    cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
    log_z = float(log_p.logsumexp(tuple(range(log_p.dim())))) + math.log(cell)
    cells = Categorical(logits=log_p.flatten())

    def sample(n: int) -> Tensor:
        index = torch.unravel_index(cells.sample((n,)), log_p.shape)
        x = torch.stack([axis[i] for axis, i in zip(axes, index, strict=True)], -1)
        width = torch.stack([axis[1] - axis[0] for axis in axes])
        return x + width * (torch.rand_like(x) - 0.5)

    return log_z, sample


def midpoints(low: float, high: float, n: int) -> Tensor:
    """The middles of ``n`` cells."""
    return low + (high - low) * (torch.arange(n).double() + 0.5) / n


def bands(axis: Tensor, p: Tensor, depth: float = 0.01) -> tuple[Tensor, Tensor]:
    """Where a marginal on a grid falls below ``depth`` of the lower of two peaks; the masses."""
    edges: list[float] = []
    top, low, at = float(p[0]), float(p[0]), 0
    for i, value in enumerate(p.tolist()):
        if value < low:
            low, at = value, i
        if low < depth * min(top, value):
            edges.append(float(axis[at]))
            top, low = value, value
        if value > top:
            top, low = value, value
    cut = torch.tensor(edges).double()
    return cut, torch.bincount(torch.bucketize(axis, cut), p, len(edges) + 1)
