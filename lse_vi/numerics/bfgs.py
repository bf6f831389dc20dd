"""Batched BFGS: ascents from many starts at once, one in each row of a tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.numerics.linear_algebra import moduli
from lse_vi.progress.bars import Bar

ValueAndGradient = Callable[[Tensor], tuple[Tensor, Tensor]]  # (n, dim) -> (n,), (n, dim)

# An ascent has converged once a Newton step would gain less than this, g^T |H|^-1 g / 2, in nats:
# the density at its end is then within a factor 1.0001 of that at the maximum.
LEFT = 1e-4
# The same for an ascent whose line search fails, in nats: there the rounding error of the value
# hides smaller gains (in float32 it is 0.01 for a value of 1e5).
STUCK = 100 * LEFT
TAUGHT = 5  # steps before the expected gain is trusted: the inverse Hessian starts as the identity
# Longest step, or as long as the distance from 0, if that is more: where the density falls as an
# exponential, a quasi-Newton step has no length of its own.
LEAP = 1.0
FAR = 1e5  # distance from 0 at which an ascent is given up: the coordinates are of order one
# An ascent is given up if it is this many nats below the highest maximum: exp(-100) of its density.
TOO_LOW = 100.0
PATIENT = 30  # steps before TOO_LOW counts: a start in a tail needs some to climb
# Ascents under way are given the Hessian, once, when they are at most this share of all and so many
# evaluations have passed since it was asked: else the last creep on for as long as all others took.
FEW, WAIT = 0.25, 10
TRAIL = 6  # evaluations between the points kept of a path, which limits the memory
SHORTEST = 4.0**-19  # of a quasi-Newton step: a quarter of it, 1e-12, changes x no more
# Share of the linear gain that a step must reach: the usual one (Nocedal & Wright 2006, Sec. 3.1).
ARMIJO = 1e-4
# Least s.y, relative to |s| |y|, of an update: below it the curvature is rounding error, and the
# inverse Hessian might lose its positive definiteness (dimensionless).
LEAST_CURVATURE = 1e-10


class Ends(NamedTuple):
    """The ends of ascents, and the paths of the highest ones that did not converge.

    Attributes:
        x: the ends, (n, dim), one for each start with a finite value and gradient.
        value, gradient: the function and its gradient at the ends, (n,) and (n, dim).
        hessian: second derivatives there, (n, dim, dim), NaN where no ascent came to rest.
        converged: whether the expected gain of a Newton step is negligible, (n,): at a maximum, or
            at a saddle.
        trail: every fourth point of the paths that did not converge, from start to end,
            (points, paths, dim).
        rows: the index of each ascent's start among the given starts, (n,).
    """

    x: Tensor
    value: Tensor
    gradient: Tensor
    hessian: Tensor
    converged: Tensor
    trail: Tensor
    rows: Tensor


def ascend(
    value_and_gradient: ValueAndGradient,
    hessian: Callable[[Tensor], Tensor],
    starts: Tensor,
    *,
    steps: int = 150,
    paths: int = 8,
    rounds: int = 1,
) -> Ends:
    """Maximise a log density from every start by BFGS with Armijo's rule, in one batch.

    Use it to find the peaks of a posterior from hundreds of starts; the last digits are Newton's
    (:func:`lse_vi.numerics.newton.descend`). BFGS: Nocedal & Wright (2006), Eq. 6.17. Each ascent
    searches its own line, so that all are evaluated together, once in each step: a model takes
    nearly as long for one vector as for hundreds. An ascent rests where its own inverse Hessian
    promises no gain, but that may not have seen a long valley yet. So when all rest the true
    Hessian is asked; where it promises more, it takes the place of their own and they go on. So do
    the last ones under way, for which the others would wait.

    Args:
        value_and_gradient: the log density, in nats, and its gradient: (n, dim) -> (n,), (n, dim).
        hessian: second derivatives of the log density, (n, dim) -> (n, dim, dim).
        starts: (n, dim); those without a finite value and gradient are left out.
        steps: the largest number of evaluations of an ascent.
        paths: the largest number of ascents without convergence whose paths are kept.
        rounds: as many such calls are made at most, this one among them: for how long it takes.

    Example:
        >>> ends = ascend(
        ...     lambda x: (-x.square().sum(-1), -2 * x),
        ...     lambda x: -2 * torch.eye(2).expand(len(x), 2, 2),
        ...     torch.ones(3, 2),
        ... )
        >>> ends.converged.tolist(), ends.x.abs().amax() < 0.01
        ([True, True, True], tensor(True))
    """
    value, gradient = value_and_gradient(starts)
    usable = value.isfinite() & gradient.isfinite().all(-1)
    run = _Ascents.begin(starts[usable], value[usable], gradient[usable])
    trail, waiting = [run.x.clone()], 0  # evaluations since the Hessian was asked
    title = f"search for modes in {starts.shape[1]} dimensions"
    for step in Bar(range(steps), title, total=rounds * steps, disable=True):
        if not bool(run.live.any()):
            break
        run.advance(value_and_gradient)
        if (step + 1) % TRAIL == 0:
            trail.append(run.x.clone())
        waiting += 1
        count = int(run.live.sum())
        few = count <= FEW * len(run.live) and waiting > WAIT
        if not count or step == steps - 1 or (few and not bool(run.helped[run.live].all())):
            run.ask(hessian)
            waiting = 0
    trail.append(run.x)
    away = (~run.converged).nonzero().squeeze(1)
    away = away[run.value[away].argsort(descending=True)][:paths]
    trails = torch.stack([points[away] for points in trail])
    ends = run.x, run.value, run.gradient, run.curvature, run.converged
    return Ends(*ends, trails, usable.nonzero().squeeze(1))


@dataclass
class _Ascents:
    """Ascents under way, one in each row.

    Attributes:
        x, value, gradient: where each is, (n, dim), (n,) and (n, dim).
        inverse: of minus the Hessian, as far as known, (n, dim, dim).
        length: of the next trial along the line, in units of the quasi-Newton step, (n,).
        taken: the number of steps taken, (n,).
        live: whether it goes on, (n,).
        rests: whether its inverse Hessian promises no gain, or its line search failed, (n,).
        stuck: whether its last line search failed, (n,).
        helped: whether it was given the true Hessian on the way, (n,).
        converged: whether the true Hessian promises no gain, (n,).
        curvature: second derivatives where it last came to rest, NaN before, (n, dim, dim).
        when_asked: the value then, (n,).
    """

    x: Tensor
    value: Tensor
    gradient: Tensor
    inverse: Tensor
    length: Tensor
    taken: Tensor
    live: Tensor
    rests: Tensor
    stuck: Tensor
    helped: Tensor
    converged: Tensor
    curvature: Tensor
    when_asked: Tensor

    @classmethod
    def begin(cls, x: Tensor, value: Tensor, gradient: Tensor) -> _Ascents:
        """At the starts; the gradient may be huge there, so first steps are at most one unit."""
        inverse = torch.eye(x.shape[1]).to(x) / gradient.norm(dim=-1).clamp_min(1)[:, None, None]
        no = torch.zeros_like(value, dtype=torch.bool)
        return cls(
            x=x,
            value=value,
            gradient=gradient,
            inverse=inverse,
            length=torch.ones_like(value),
            taken=torch.zeros_like(value),
            live=~no,
            rests=no.clone(),
            stuck=no.clone(),
            helped=no.clone(),
            converged=no.clone(),
            curvature=inverse * torch.nan,
            when_asked=torch.full_like(value, -torch.inf),
        )

    def advance(self, value_and_gradient: ValueAndGradient) -> None:
        """One evaluation of each live row: a step where it rises enough, else a shorter trial."""
        rows = self.live.nonzero().squeeze(1)
        x0, v0, g0, length = self.x[rows], self.value[rows], self.gradient[rows], self.length[rows]
        direction = (self.inverse[rows] @ g0.unsqueeze(-1)).squeeze(-1)
        longest = x0.norm(dim=-1).clamp_min(LEAP) / direction.norm(dim=-1)
        direction = longest.clamp_max(1.0).unsqueeze(1) * direction
        x1 = x0 + length.unsqueeze(1) * direction
        v1, g1 = value_and_gradient(x1)
        slope = (g0 * direction).sum(-1)
        good = (v1 >= v0 + ARMIJO * length * slope) & g1.isfinite().all(-1)
        self.length[rows] = torch.where(good, 1.0, length / 4)
        self._step(rows[good], x1[good], v1[good], g1[good])
        failed = rows[~good & (length <= SHORTEST)]
        self.stuck[failed], self.rests[failed], self.length[failed] = True, True, 1.0
        floor = torch.where(self.rests, self.value, -torch.inf).amax() - TOO_LOW
        low = (self.taken[rows] > PATIENT) & (self.value[rows] < floor)
        lost = (self.x[rows].norm(dim=-1) > FAR) | low
        self.live[rows] = ~(self.rests[rows] | lost)

    def _step(self, rows: Tensor, x: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Move ``rows``, learn their curvature on the way, and see which of them come to rest."""
        first = self.taken[rows] == 0
        s, y = x - self.x[rows], self.gradient[rows] - gradient
        inverse = _update(self.inverse[rows], s, y, first)
        known = self.taken[rows] >= TAUGHT
        self.x[rows], self.value[rows], self.gradient[rows] = x, value, gradient
        self.inverse[rows], self.stuck[rows] = inverse, False
        self.rests[rows] = known & (_gain(inverse, gradient) < LEFT)
        self.taken[rows] += 1

    def ask(self, hessian: Callable[[Tensor], Tensor]) -> None:
        """Ask the true Hessian of rows at rest, and of those under way that were not helped so yet.

        All go on with it, those at rest only if it promises more than their own inverse did.
        """
        rows = ((self.rests & ~self.converged) | (self.live & ~self.helped)).nonzero().squeeze(1)
        if not len(rows):
            return
        self.curvature[rows] = hessian(self.x[rows])
        true, value, rest = _inverse(self.curvature[rows]), self.value[rows], self.rests[rows]
        left = torch.where(self.stuck[rows], STUCK, LEFT)
        self.converged[rows] = rest & (_gain(true, self.gradient[rows]) < left)
        # One that has not risen since it was asked can not: rounding hides what is left.
        self.live[rows] = ~self.converged[rows] & (~rest | (value > self.when_asked[rows]))
        known = rest | true.isfinite().all(-1).all(-1)
        self.inverse[rows] = torch.where(known[:, None, None], true, self.inverse[rows])
        self.length[rows], self.helped[rows] = 1.0, True
        self.when_asked[rows[rest]] = value[rest]
        self.rests[rows] = self.converged[rows]


def _gain(inverse: Tensor, gradient: Tensor) -> Tensor:
    """What a Newton step gains, g^T H^-1 g / 2 in nats: (n, dim, dim), (n, dim) -> (n,)."""
    return 0.5 * (gradient.unsqueeze(-2) @ inverse @ gradient.unsqueeze(-1)).flatten()


def _inverse(hessian: Tensor) -> Tensor:
    """|H|^-1, (n, dim, dim), or NaN where H is not finite: what is left to gain is then unknown."""
    fine = hessian.isfinite().all(-1).all(-1)[:, None, None]
    eye = torch.eye(hessian.shape[-1]).to(hessian)
    return torch.where(fine, torch.linalg.inv(moduli(torch.where(fine, hessian, eye))), torch.nan)


def _update(inverse: Tensor, s: Tensor, y: Tensor, first: Tensor) -> Tensor:
    """BFGS update of inverse Hessians (n, dim, dim), skipped where s.y shows no curvature.

    Before its ``first`` (n,) update an inverse is scaled (Nocedal & Wright 2006, Eq. 6.20).
    """
    sy = (s * y).sum(-1)
    curved = sy > LEAST_CURVATURE * s.norm(dim=-1) * y.norm(dim=-1)
    rho = torch.where(curved, 1 / torch.where(curved, sy, 1.0), 0.0)[:, None, None]
    eye = torch.eye(s.shape[1]).to(s)
    scale = torch.where(curved, sy / torch.where(curved, y.square().sum(-1), 1.0), 0.0)
    scaled = (curved & first)[:, None, None]
    inverse = torch.where(scaled, scale[:, None, None] * eye, inverse)
    left = eye - rho * s.unsqueeze(-1) * y.unsqueeze(-2)
    return left @ inverse @ left.mT + rho * s.unsqueeze(-1) * s.unsqueeze(-2)
