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
            Coordinates that the slope presses against a side go there and stay, the others take
            Newton's step (Bertsekas 1982), and an end has converged where the slope along the
            others vanishes.

    Example:
        >>> square = lambda x: x.square().sum(-1)
        >>> twice = lambda x: 2 * torch.eye(2).expand(*x.shape, 2)
        >>> descend(square, lambda x: 2 * x, twice, torch.ones(3, 2)).converged
        tensor([True, True, True])
    """
    eps = torch.finfo(x.dtype).eps
    inside = (lambda x: x) if within is None else partial(torch.clamp, min=within[0], max=within[1])
    value = energy(x)
    stuck = torch.zeros_like(value, dtype=torch.bool)
    for _ in range(max_steps):
        g = gradient(x)
        step, _ = _newton_step(x, g, hessian(x), within)
        tiny = torch.finfo(x.dtype).tiny
        step = step * (max_length / step.norm(dim=-1, keepdim=True).clamp_min(tiny)).clamp(max=1.0)
        slope = (g * step).sum(-1)
        rounding = ROUNDINGS * eps * (1 + value.abs())
        active = (-slope > rounding) & ~stuck
        if not active.any():
            break
        t = active.to(x.dtype)
        for _ in range(HALVINGS):
            there = inside(x + t.unsqueeze(-1) * step)
            gain = t * slope if within is None else (g * (there - x)).sum(-1)
            short = active & ~(energy(there) <= value + ARMIJO * gain)
            if not (short & (-t * slope > rounding)).any():  # all would gain is rounding error
                break
            t = torch.where(short, t / 2, t)
        stuck |= short  # no step descends: the energy is at its rounding error
        t = torch.where(short, 0.0, t)
        x = inside(x + t.unsqueeze(-1) * step)
        value = energy(x)
    h = hessian(x)
    _, left = _newton_step(x, gradient(x), h, within)
    return Descent(x, value, h, left < REACHED * eps * (1 + value.abs()))


def _newton_step(
    x: Tensor, g: Tensor, h: Tensor, within: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """The step (*shape, dim), and what a quadratic would gain by it, (*shape)."""
    aside: Tensor | None = None
    if within is not None:
        pinned, aside = _pressed(x, g, h, within)
        way, g = (g * aside).sum(-1), g.masked_fill(pinned, 0.0)
        h = h.masked_fill(pinned.unsqueeze(-1) | pinned.unsqueeze(-2), 0.0)
        h = h + torch.diag_embed(pinned.to(h))
    moduli, axes = torch.linalg.eigh(h)
    moduli, along = _floored(moduli), (axes.mT @ g.unsqueeze(-1)).squeeze(-1)
    step, gain = -(axes @ (along / moduli).unsqueeze(-1)).squeeze(-1), 0.5 * along.square() / moduli
    return (step, gain.sum(-1)) if aside is None else (step + aside, gain.sum(-1) - way)


def _pressed(
    x: Tensor, g: Tensor, h: Tensor, within: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Coordinates that the slope presses against a side, and their way there, (*shape, dim) both.

    They are those whose own Newton step would end there. Of those *at* a side alone, others a
    rounding beside it would block the way of all.
    """
    own = -g / _floored(h.diagonal(dim1=-2, dim2=-1))
    to_low, to_high = (side - x for side in within)
    down, up = (g > 0) & (own <= to_low), (g < 0) & (own >= to_high)
    return down | up, torch.where(down, to_low, 0.0) + torch.where(up, to_high, 0.0)


def _floored(values: Tensor) -> Tensor:
    """Moduli of eigenvalues, none so small that a step along its axis would be all rounding."""
    moduli = values.abs()
    least = torch.finfo(values.dtype).eps ** 0.5 * moduli.amax(-1, keepdim=True)
    return moduli.clamp_min(least).clamp_min(torch.finfo(values.dtype).tiny ** 0.5)
