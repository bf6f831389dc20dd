"""Damped Newton descent for many points at once: minimisers of modes, minima of potentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


class Descent(NamedTuple):
    """Where each start ended: ``x`` (*shape, dim), ``energy``, ``hessian``, and ``converged``."""

    x: Tensor
    energy: Tensor
    hessian: Tensor
    converged: Tensor


@torch.no_grad()
def descend(
    energy: Function,
    gradient: Function,
    hessian: Function,
    x: Tensor,
    *,
    max_steps: int = 100,
    max_length: float | Tensor = float("inf"),
) -> Descent:
    """Minimise ``energy`` from every start ``x`` (*shape, dim) by damped Newton steps.

    The step is -|H|^-1 g with the eigenvalues' moduli, so it descends where H is indefinite too
    (Dauphin et al. 2014, saddle-free Newton), halved until Armijo's condition holds. On a strongly
    convex function it converges from everywhere. A start has converged when its Newton decrement
    g^T |H|^-1 g / 2, the expected gain, is at the rounding error of the energy.
    """
    eps = torch.finfo(x.dtype).eps
    value = energy(x)
    for _ in range(max_steps):
        g, h = gradient(x), hessian(x)
        moduli, axes = torch.linalg.eigh(h)
        moduli = moduli.abs()
        moduli = moduli.clamp_min(eps**0.5 * moduli.amax(-1, keepdim=True).clamp_min(1e-6))
        along = (axes.mT @ g.unsqueeze(-1)).squeeze(-1)
        step = -(axes @ (along / moduli).unsqueeze(-1)).squeeze(-1)
        step = step * (max_length / step.norm(dim=-1, keepdim=True).clamp_min(eps)).clamp(max=1.0)
        slope = (g * step).sum(-1)
        active = -slope > 4 * eps * (1 + value.abs())
        if not active.any():
            break
        t = active.to(x.dtype)
        for _ in range(40):
            trial = energy(x + t.unsqueeze(-1) * step)
            short = active & ~(trial <= value + 1e-4 * t * slope)
            if not short.any():
                break
            t = torch.where(short, t / 2, t)
        t = torch.where(short, 0.0, t)  # no descent left in this direction: rounding error reached
        x = x + t.unsqueeze(-1) * step
        value = energy(x)
        if not (active & ~short).any():
            break
    g, h = gradient(x), hessian(x)
    scale = torch.linalg.matrix_norm(h, ord=2).clamp_min(eps)
    converged = g.square().sum(-1) / scale < eps**0.5 * (1 + value.abs())
    return Descent(x, value, h, converged)
