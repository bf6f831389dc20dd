"""Damped Newton descent from many points at once: minimisers of modes, minima of potentials."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]

# Share of the linear gain that a step must reach: the usual one (Nocedal & Wright 2006, Sec. 3.1).
ARMIJO = 1e-4
HALVINGS = 40  # most halvings of a step: 2^-40 = 1e-12 of it is lost in rounding
ROUNDINGS = 4  # machine epsilons of 1 + |energy|: a linear gain below them is rounding error
# Roundings of 1 + |energy| that may be left to gain where a descent has converged.
REACHED = 1e3


class Descent(NamedTuple):
    """The ends of descents: ``x`` and the energy and Hessian there, and which have converged.

    Attributes:
        x: (*shape, dim).
        energy: (*shape).
        hessian: (*shape, dim, dim).
        converged: whether the gradient vanishes up to rounding, (*shape).
    """

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
    within: tuple[Tensor, Tensor] | None = None,
) -> Descent:
    """Minimise ``energy`` from every start ``x`` by damped Newton steps, to rounding error.

    Use it for smooth functions of few dimensions, where a Hessian is cheap. The step is
    -|H|^-1 g, halved until Armijo's condition holds. |H| has the moduli of H's eigenvalues, so the
    step descends where H is indefinite too (Dauphin et al. 2014, saddle-free Newton). On a strongly
    convex function it converges from every start. A descent ends where the linear gain
    g^T |H|^-1 g is at the rounding error of the energy, and has converged where half of it, the
    Newton decrement, is below a thousand roundings: no unit of x enters. Energies must be of order
    one, or their rounding hides what is left to gain.

    Args:
        energy: (*shape, dim) -> (*shape).
        gradient: (*shape, dim) -> same shape.
        hessian: (*shape, dim) -> (*shape, dim, dim).
        x: starts (*shape, dim).
        max_steps: the largest number of steps.
        max_length: the largest length of a step, in units of x.
        within: (low, high) of a box, (dim,) each, in which the starts are and the descents stay.
            Coordinates that the slope presses against a side stay there, the others take Newton's
            step (Bertsekas 1982), and an end has converged where the slope along the others
            vanishes.

    Example:
        >>> square = lambda x: x.square().sum(-1)
        >>> twice = lambda x: 2 * torch.eye(2).expand(*x.shape, 2)
        >>> descend(square, lambda x: 2 * x, twice, torch.ones(3, 2)).converged
        tensor([True, True, True])
    """
    eps = torch.finfo(x.dtype).eps
    inside = (lambda x: x) if within is None else partial(torch.clamp, min=within[0], max=within[1])
    value = energy(x)
    for _ in range(max_steps):
        g, h = _free(x, gradient(x), hessian(x), within)
        moduli, axes = torch.linalg.eigh(h)
        along = (axes.mT @ g.unsqueeze(-1)).squeeze(-1)
        step = -(axes @ (along / _floored(moduli)).unsqueeze(-1)).squeeze(-1)
        tiny = torch.finfo(x.dtype).tiny
        step = step * (max_length / step.norm(dim=-1, keepdim=True).clamp_min(tiny)).clamp(max=1.0)
        slope = (g * step).sum(-1)
        active = -slope > ROUNDINGS * eps * (1 + value.abs())
        if not active.any():
            break
        t = active.to(x.dtype)
        for _ in range(HALVINGS):
            there = inside(x + t.unsqueeze(-1) * step)
            gain = t * slope if within is None else (g * (there - x)).sum(-1)
            short = active & ~(energy(there) <= value + ARMIJO * gain)
            if not short.any():
                break
            t = torch.where(short, t / 2, t)
        t = torch.where(short, 0.0, t)  # no step descends: the energy is at its rounding error
        x = inside(x + t.unsqueeze(-1) * step)
        value = energy(x)
        if not (active & ~short).any():
            break
    h = hessian(x)
    g, free = _free(x, gradient(x), h, within)
    moduli, axes = torch.linalg.eigh(free)
    along = (axes.mT @ g.unsqueeze(-1)).squeeze(-1)
    decrement = 0.5 * (along.square() / _floored(moduli)).sum(-1)
    return Descent(x, value, h, decrement < REACHED * eps * (1 + value.abs()))


def _free(
    x: Tensor, g: Tensor, h: Tensor, within: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of the coordinates that can move; the others have none of either."""
    if within is None:
        return g, h
    pinned = ((x <= within[0]) & (g > 0)) | ((x >= within[1]) & (g < 0))
    out = pinned.unsqueeze(-1) | pinned.unsqueeze(-2)
    return g.masked_fill(pinned, 0.0), h.masked_fill(out, 0.0) + torch.diag_embed(pinned.to(h))


def _floored(values: Tensor) -> Tensor:
    """Moduli of eigenvalues, none so small that a step along its axis would be all rounding."""
    moduli = values.abs()
    least = torch.finfo(values.dtype).eps ** 0.5 * moduli.amax(-1, keepdim=True)
    return moduli.clamp_min(least).clamp_min(torch.finfo(values.dtype).tiny ** 0.5)
