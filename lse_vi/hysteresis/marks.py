"""Where transitions begin and end, and other numbers that a tester knows, from a fitted model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.hysteresis.elements import Element, phase_energies, phase_stress
from lse_vi.hysteresis.training import moving
from lse_vi.materials.play import Play
from lse_vi.network.icnn import whitened

# Strains among which a mark is looked for, in units of the largest strain of the data: marks far
# outside say nothing.
LOW, HIGH, NODES = -2.0, 6.0, 4001
INSIDE = 0.5  # a strain at which every transition is driven onwards, in those units
NEWTON = 4  # steps, from a lattice node within 0.002 of the mark


class Marks(NamedTuple):
    """Numbers of all transitions in units of the model, each (transitions,); NaN where none is.

    Attributes:
        strain: between the phases, both at zero stress.
        A, k: the energies A and k+ + k-.
        start, end, back_start, back_end: stresses on the path 0 -> 1 -> 0 at which the share begins
            to grow, is 1, begins to shrink, and is 0 again.
        strain_start, strain_end: strains at the first two of these.
    """

    strain: Tensor
    A: Tensor
    k: Tensor
    start: Tensor
    end: Tensor
    back_start: Tensor
    back_end: Tensor
    strain_start: Tensor
    strain_end: Tensor


def marks(model: Play, sides: tuple[int, ...]) -> Marks:
    """The marks of a model, differentiable by its parameters."""
    grows, shrinks = model.thresholds
    half = 0.5 * model.mixing
    targets = torch.stack([grows - half, grows + half, half - shrinks, -half - shrinks])
    strains = torch.stack(
        [_reach(model, j, side, targets[:, j]) for j, side in enumerate(sides)], 1
    )
    before, after = list(model.parents), list(range(1, len(sides) + 1))
    phase = phase_stress(model, strains.flatten()).reshape(*strains.shape, -1)
    each = torch.arange(len(sides))
    rest = _at_rest(model)
    return Marks(
        strain=(rest[after] - rest[before]).abs(),
        A=model.mixing,
        k=model.thresholds.sum(0),
        start=phase[0, each, before],
        end=phase[1, each, after],
        back_start=phase[2, each, after],
        back_end=phase[3, each, before],
        strain_start=strains[0],
        strain_end=strains[1],
    )


def jacobian(model: Play, sides: tuple[int, ...]) -> Tensor:
    """Derivatives of the marks, in their order, by :func:`vector`: (marks, transitions, n)."""
    moved = moving(model)
    values = torch.stack(tuple(marks(model, sides)))
    rows = [
        torch.autograd.grad(value, moved, retain_graph=True, allow_unused=True)
        for value in values.flatten()
    ]
    flat = [
        torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in pairs])
        for pairs in (list(zip(moved, row, strict=True)) for row in rows)
    ]
    return torch.stack(flat).reshape(*values.shape, -1)


def elements_of(model: Play, sides: tuple[int, ...]) -> list[Element]:
    """The transitions of a model as a start for another one."""
    with torch.no_grad():
        m = marks(model, sides)
        lag_end = torch.stack(
            [
                _reach(model, j, side, (0.5 * model.mixing - model.thresholds[1])[j].reshape(1))[0]
                for j, side in enumerate(sides)
            ]
        )
        found = []
        for j, side in enumerate(sides):
            start, end = side * float(m.strain_start[j]), side * float(m.strain_end[j])
            ends = torch.stack([m.strain_start[j], m.strain_end[j]])
            jumps = phase_stress(model, ends)
            jumps = jumps[:, j + 1] - jumps[:, model.parents[j]]
            slope = float((jumps[1] - jumps[0]) / (ends[1] - ends[0]))
            jump = (float(jumps[0]) - slope * float(ends[0]), slope)
            lag = end - side * float(lag_end[j])
            found.append(Element(side, start, end - start, lag, jump))
    return found


def _gain(model: Play, transition: int, e: Tensor) -> Tensor:
    """f_a - f_b at strains (n,)."""
    return -(phase_energies(model, e) @ model.flow)[:, transition]


def _reach(model: Play, transition: int, side: int, targets: Tensor) -> Tensor:
    """Strains at which the gain of a transition has the values ``targets``, each (n,).

    The lattice gives a start, Newton's steps the rest; the last of them carries the derivatives
    (the implicit function theorem).
    """
    x = torch.linspace(LOW, HIGH, NODES, dtype=targets.dtype)
    with torch.no_grad():
        gain = _gain(model, transition, side * x)
        rising = gain.diff() > 0
        middle = int((x < INSIDE).sum())
        falls = (~rising).nonzero().flatten()
        below, above = falls[falls < middle], falls[falls >= middle]
        first = int(below.max()) + 1 if len(below) else 0
        last = int(above.min()) if len(above) else NODES - 1
        index = torch.searchsorted(gain[first : last + 1], targets.detach().contiguous()) + first
        found = (index > first) & (index <= last)
        e = side * x[index.clamp(max=NODES - 1)]
    for _ in range(NEWTON):
        e = e.detach()
        phases = phase_stress(model, e)
        slope = -(phases @ model.flow)[:, transition].detach()
        e = e + (targets - _gain(model, transition, e)) / slope
    return torch.where(found, e, torch.nan)


def _at_rest(model: Play) -> Tensor:
    """The strains at which each phase has no stress, (phases,)."""
    modes = model.potential.modes
    e = whitened(model.potential.network).loc[:, 0]
    each = torch.arange(modes)
    for _ in range(2 * NEWTON):
        e = e.detach()
        e = e - phase_stress(model, e)[each, each] / _slope(model, e)
    return e


def _slope(model: Play, e: Tensor) -> Tensor:
    """The stiffness of each phase at a strain of its own, (phases,)."""
    each = torch.arange(len(e))
    step = 1e-4  # in units of the largest strain: the network is smooth on that scale
    with torch.no_grad():
        ahead, behind = phase_stress(model, e + step), phase_stress(model, e - step)
    return ((ahead - behind) / (2 * step))[each, each]
