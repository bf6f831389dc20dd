"""Batched BFGS: ascents from many starts at once, each in a row of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

ValueAndGradient = Callable[[Tensor], tuple[Tensor, Tensor]]  # (n, dim) -> (n,), (n, dim)

LEFT = 1e-4  # nats that another step would gain where an ascent has converged
STUCK = 100 * LEFT  # nats left to gain up to which an ascent without a step has converged too
TAUGHT = 5  # steps after which the model of the curvature knows what is left to gain
FAR = 1e5  # distance from 0 at which an ascent has run off
TOO_LOW = 100.0  # nats below the highest end, at which an ascent is given up ...
PATIENT = 30  # ... after so many steps
TRAIL = 4  # steps between the points that are kept of a path
QUARTERS = 20  # times that a step is cut to a quarter before there is none


class Ends(NamedTuple):
    """Where ascents ended, and the paths of the highest of those that did not converge.

    Attributes:
        x: (n, dim), of the starts with a finite value and gradient.
        value, gradient: there, (n,) and (n, dim).
        converged: whether hardly anything is left to gain, (n,).
        trail: points on the paths that did not converge, each path's last at the end,
            (points, paths, dim).
        rows: which starts these are, (n,).
    """

    x: Tensor
    value: Tensor
    gradient: Tensor
    converged: Tensor
    trail: Tensor
    rows: Tensor


def ascend(
    value_and_gradient: ValueAndGradient, starts: Tensor, *, steps: int = 100, paths: int = 8
) -> Ends:
    """Maximise a function, in nats, from every start by BFGS with Armijo's rule, in one batch.

    Args:
        value_and_gradient: of the function, (n, dim) -> (n,) and (n, dim).
        starts: (n, dim); those without a finite value and gradient are left out.
        steps: at most so many.
        paths: of how many ascents that do not converge the path is kept.

    Example:
        >>> ends = ascend(lambda x: (-x.square().sum(-1), -2 * x), torch.ones(3, 2))
        >>> ends.converged.tolist(), ends.x.abs().amax() < 0.01
        ([True, True, True], tensor(True))
    """
    value, gradient = value_and_gradient(starts)
    usable = value.isfinite() & gradient.isfinite().all(-1)
    x, value, g = starts[usable], value[usable], gradient[usable]
    # The gradient may be huge far out: the first step is at most one unit long.
    inverse = torch.eye(x.shape[1]).to(x) / g.norm(dim=-1).clamp_min(1.0)[:, None, None]
    converged, live = torch.zeros_like(usable[usable]), torch.ones_like(usable[usable])
    trail = [x.clone()]
    for step in range(steps):
        rows = live.nonzero().squeeze(1)
        if not len(rows):
            break
        x0, v0, g0 = x[rows], value[rows], g[rows]
        direction = (inverse[rows] @ g0.unsqueeze(-1)).squeeze(-1)
        x1, v1, g1, moved = _line_search(value_and_gradient, x0, v0, g0, direction)
        inverse[rows] = _update(inverse[rows], x1 - x0, g0 - g1, first=step == 0)
        x[rows], value[rows], g[rows] = x1, v1, g1
        left = 0.5 * (g1.unsqueeze(-2) @ inverse[rows] @ g1.unsqueeze(-1)).flatten()
        there = (left < LEFT) & (step >= TAUGHT)
        converged[rows] = there | ~moved & (left < STUCK)
        floor = torch.where(converged, value, -torch.inf).amax() - TOO_LOW
        lost = (x1.norm(dim=-1) > FAR) | (step > PATIENT) & (v1 < floor)
        live[rows] = moved & ~there & ~lost
        if (step + 1) % TRAIL == 0:
            trail.append(x.clone())
    trail.append(x)
    away = (~converged).nonzero().squeeze(1)
    away = away[value[away].argsort(descending=True)][:paths]
    trails = torch.stack([points[away] for points in trail])
    return Ends(x, value, g, converged, trails, usable.nonzero().squeeze(1))


def _line_search(
    value_and_gradient: ValueAndGradient,
    x: Tensor,
    value: Tensor,
    gradient: Tensor,
    direction: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Armijo's rule in every row: new x, value and gradient, and whether there was a step."""
    slope = (gradient * direction).sum(-1)
    x, value, gradient = x.clone(), value.clone(), gradient.clone()
    todo, t = torch.arange(len(x), device=x.device), 1.0
    for _ in range(QUARTERS):
        trial = x[todo] + t * direction[todo]
        v, g = value_and_gradient(trial)
        good = (v >= value[todo] + 1e-4 * t * slope[todo]) & g.isfinite().all(-1)
        x[todo[good]], value[todo[good]], gradient[todo[good]] = trial[good], v[good], g[good]
        todo, t = todo[~good], t / 4
        if not len(todo):
            break
    moved = torch.ones_like(value, dtype=torch.bool)
    moved[todo] = False
    return x, value, gradient, moved


def _update(inverse: Tensor, s: Tensor, y: Tensor, *, first: bool) -> Tensor:
    """BFGS update of inverse Hessians (n, dim, dim), skipped where there is no curvature."""
    sy = (s * y).sum(-1)
    curved = sy > 1e-10 * s.norm(dim=-1) * y.norm(dim=-1)
    rho = torch.where(curved, 1 / torch.where(curved, sy, 1.0), 0.0)[:, None, None]
    eye = torch.eye(s.shape[1]).to(s)
    if first:  # scale before the first update (Nocedal & Wright 2006, Eq. 6.20)
        scale = torch.where(curved, sy / torch.where(curved, y.square().sum(-1), 1.0), 0.0)
        inverse = torch.where(curved[:, None, None], scale[:, None, None] * eye, inverse)
    left = eye - rho * s.unsqueeze(-1) * y.unsqueeze(-2)
    return left @ inverse @ left.mT + rho * s.unsqueeze(-1) * s.unsqueeze(-2)
