"""Batched BFGS: ascents from many starts at once, one in each row of a tensor."""

from __future__ import annotations

from collections.abc import Callable
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
FAR = 1e5  # distance from 0 at which an ascent is given up: the coordinates are of order one
# An ascent is given up if it is this many nats below the highest maximum: exp(-100) of its density.
TOO_LOW = 100.0
PATIENT = 30  # steps before TOO_LOW counts: a start in a tail needs some to climb
TRAIL = 4  # steps between the points kept of a path, which limits the memory
QUARTERS = 20  # most times that a step is quartered: 4^-20 = 1e-12 of it changes x no more
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
    steps: int = 100,
    paths: int = 8,
    rounds: int = 1,
) -> Ends:
    """Maximise a log density from every start by BFGS with Armijo's rule, in one batch.

    Use it to find the peaks of a posterior from hundreds of starts; the last digits are Newton's
    (:func:`lse_vi.numerics.newton.descend`). BFGS: Nocedal & Wright (2006), Eq. 6.17. An ascent
    rests where its own inverse Hessian promises no gain, but that may not have seen a long valley
    yet. So when all rest the true Hessian is asked; where it promises more, it takes the place of
    their own and they go on.

    Args:
        value_and_gradient: the log density, in nats, and its gradient: (n, dim) -> (n,), (n, dim).
        hessian: second derivatives of the log density, (n, dim) -> (n, dim, dim).
        starts: (n, dim); those without a finite value and gradient are left out.
        steps: the largest number of steps.
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
    x, value, g = starts[usable], value[usable], gradient[usable]
    # The gradient may be huge far from the peaks, so the first step is at most one unit long.
    inverse = torch.eye(x.shape[1]).to(x) / g.norm(dim=-1).clamp_min(1.0)[:, None, None]
    rests, converged = torch.zeros_like(usable[usable]), torch.zeros_like(usable[usable])
    live, stuck = ~rests, rests.clone()
    curvature, when_asked = inverse * torch.nan, torch.full_like(value, -torch.inf)
    trail = [x.clone()]
    title = f"search for modes in {x.shape[1]} dimensions"
    for step in Bar(range(steps), title, total=rounds * steps, disable=True):
        rows = live.nonzero().squeeze(1)
        if not len(rows):
            break
        x0, v0, g0 = x[rows], value[rows], g[rows]
        direction = (inverse[rows] @ g0.unsqueeze(-1)).squeeze(-1)
        x1, v1, g1, moved = _line_search(value_and_gradient, x0, v0, g0, direction)
        inverse[rows] = _update(inverse[rows], x1 - x0, g0 - g1, first=step == 0)
        x[rows], value[rows], g[rows] = x1, v1, g1
        stuck[rows] = ~moved
        rests[rows] = ~moved | (_gain(inverse[rows], g1) < LEFT) & (step >= TAUGHT)
        floor = torch.where(rests, value, -torch.inf).amax() - TOO_LOW
        lost = (x1.norm(dim=-1) > FAR) | (step > PATIENT) & (v1 < floor)
        live[rows] = ~(rests[rows] | lost)
        if (step + 1) % TRAIL == 0:
            trail.append(x.clone())
        if live.any() and step < steps - 1:
            continue
        rows = (rests & ~converged).nonzero().squeeze(1)
        if not len(rows):
            break
        curvature[rows] = hessian(x[rows])
        true = _inverse(curvature[rows])
        converged[rows] = _gain(true, g[rows]) < torch.where(stuck[rows], STUCK, LEFT)
        # One that has not risen since it was asked can not: rounding hides what is left.
        live[rows] = ~converged[rows] & (value[rows] > when_asked[rows])
        inverse[rows], when_asked[rows], rests[rows] = true, value[rows], converged[rows]
    trail.append(x)
    away = (~converged).nonzero().squeeze(1)
    away = away[value[away].argsort(descending=True)][:paths]
    trails = torch.stack([points[away] for points in trail])
    return Ends(x, value, g, curvature, converged, trails, usable.nonzero().squeeze(1))


def _gain(inverse: Tensor, gradient: Tensor) -> Tensor:
    """What a Newton step gains, g^T H^-1 g / 2 in nats: (n, dim, dim), (n, dim) -> (n,)."""
    return 0.5 * (gradient.unsqueeze(-2) @ inverse @ gradient.unsqueeze(-1)).flatten()


def _inverse(hessian: Tensor) -> Tensor:
    """|H|^-1, (n, dim, dim), or NaN where H is not finite: what is left to gain is then unknown."""
    fine = hessian.isfinite().all(-1).all(-1)[:, None, None]
    eye = torch.eye(hessian.shape[-1]).to(hessian)
    return torch.where(fine, torch.linalg.inv(moduli(torch.where(fine, hessian, eye))), torch.nan)


def _line_search(
    value_and_gradient: ValueAndGradient,
    x: Tensor,
    value: Tensor,
    gradient: Tensor,
    direction: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Quarter the step of every row until Armijo's rule holds: new x, value, gradient, moved."""
    slope = (gradient * direction).sum(-1)
    x, value, gradient = x.clone(), value.clone(), gradient.clone()
    todo, t = torch.arange(len(x), device=x.device), 1.0
    for _ in range(QUARTERS):
        trial = x[todo] + t * direction[todo]
        v, g = value_and_gradient(trial)
        good = (v >= value[todo] + ARMIJO * t * slope[todo]) & g.isfinite().all(-1)
        x[todo[good]], value[todo[good]], gradient[todo[good]] = trial[good], v[good], g[good]
        todo, t = todo[~good], t / 4
        if not len(todo):
            break
    moved = torch.ones_like(value, dtype=torch.bool)
    moved[todo] = False
    return x, value, gradient, moved


def _update(inverse: Tensor, s: Tensor, y: Tensor, *, first: bool) -> Tensor:
    """BFGS update of inverse Hessians (n, dim, dim), skipped where s.y shows no curvature."""
    sy = (s * y).sum(-1)
    curved = sy > LEAST_CURVATURE * s.norm(dim=-1) * y.norm(dim=-1)
    rho = torch.where(curved, 1 / torch.where(curved, sy, 1.0), 0.0)[:, None, None]
    eye = torch.eye(s.shape[1]).to(s)
    if first:  # scale before the first update (Nocedal & Wright 2006, Eq. 6.20)
        scale = torch.where(curved, sy / torch.where(curved, y.square().sum(-1), 1.0), 0.0)
        inverse = torch.where(curved[:, None, None], scale[:, None, None] * eye, inverse)
    left = eye - rho * s.unsqueeze(-1) * y.unsqueeze(-2)
    return left @ inverse @ left.mT + rho * s.unsqueeze(-1) * s.unsqueeze(-2)
