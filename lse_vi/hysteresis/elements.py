r"""A transition as a tester describes it, and the model that is made of such transitions.

In strain x, taken in the direction of the transition: the share h grows from 0 to 1 over the
strains from ``start`` to ``start + width`` where nothing turns, and shrinks over the same width, by
``lag`` earlier in x. The stress changes by h (jump_0 + jump_1 e). These five numbers give all of a
:class:`~lse_vi.Play` with quadratic energies in closed form, since with g = f_a - f_b

.. math:: g' = -(jump_0 + jump_1 e), \qquad A = g(end) - g(start), \qquad
    k_+ + k_- = g(end) - g(end - lag)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.fitting.random_state import seeded
from lse_vi.materials.elastic import Elastic
from lse_vi.materials.invariants import Components
from lse_vi.materials.play import Play
from lse_vi.network.icnn import WhitenedICNN, softplus_inverse, whitened
from lse_vi.network.potential import LSEICNN

LEAST_ENERGY = 1e-6  # of A and k, in strain_unit * stress_unit: softplus has no inverse at 0
LEAST_STIFFNESS = 0.02  # of a phase, as a share of that of the first: modes are strongly convex


class Element(NamedTuple):
    """One transition, in units of the model.

    Attributes:
        side: 1 in tension, -1 in compression.
        start, width, lag: strains, in the direction of ``side``.
        jump: jump_0 and jump_1, changes of stress and of stiffness.
    """

    side: int
    start: float
    width: float
    lag: float
    jump: tuple[float, float]

    def gain(self, x: float) -> float:
        """g at strain x, in the direction of ``side``, up to a constant."""
        e = self.side * x
        return -self.jump[0] * e - 0.5 * self.jump[1] * e * e


class Units(NamedTuple):
    """A typical strain and a typical stress, in the user's units."""

    strain: float
    stress: float

    @property
    def energy(self) -> float:
        """The unit of energies per volume."""
        return self.strain * self.stress


def build(
    base: tuple[float, float], elements: list[Element], units: Units
) -> tuple[Elastic, tuple[int, ...]]:
    """The model of a first phase and transitions from it, and the sides of these in its order.

    The first phase has the stress base_0 + base_1 e. Of two transitions on one side, the one that
    starts later forms from the phase that the other makes. Without transitions the material is
    elastic.
    """
    order = sorted(elements, key=lambda t: (t.side, t.start))
    lines, energies = [base], [0.0]
    parents: list[int] = []
    for j, t in enumerate(order):
        chained = j > 0 and order[j - 1].side == t.side
        parent = j if chained else 0
        parents.append(parent)
        offset, slope = lines[parent]
        least = LEAST_STIFFNESS * max(base[1], 1e-3)
        lines.append((offset + t.jump[0], max(slope + t.jump[1], least)))
        energies.append(_start_energy(t, lines[parent], lines[-1], energies[parent]))
    potential = _quadratic(len(lines), ())
    _set_phases(potential, lines, energies)
    common = {"strain_unit": units.strain, "stress_unit": units.stress}
    sides = tuple(t.side for t in order)
    if not order:
        return Elastic(potential, Components(1), **common), sides
    model = Play(potential, Components(1), parents=parents, **common)
    _set_friction(model, order)
    return model, sides


@torch.no_grad()
def corrected(model: Elastic, hidden: tuple[int, ...], seed: int) -> Elastic:
    """The same material, each of whose phases has a small convex network besides its square.

    Args:
        model: one of :func:`build`, fitted or not.
        hidden: widths of the layers of these networks.
        seed: for their start.
    """
    old = whitened(model.potential.network)
    potential = _quadratic(model.potential.modes, hidden, seed)
    new = whitened(potential.network)
    for name in ("loc", "log_diagonal"):
        new.get_parameter(name).copy_(old.get_parameter(name))
    at_centre = new.icnn(torch.zeros_like(old.loc).unsqueeze(-2))[..., 0, :].diagonal()
    new.icnn.weight[:, -1:] = old.icnn.weight
    new.add_offset_(old.icnn.bias[:, 0] - at_centre)
    common = {"strain_unit": model.strain_unit, "stress_unit": model.stress_unit}
    if not isinstance(model, Play):
        return Elastic(potential, Components(1), **common)
    wide = Play(potential, Components(1), parents=model.parents, **common)
    wide.raw.copy_(model.raw)
    return wide


def _quadratic(modes: int, hidden: tuple[int, ...], seed: int = 0) -> LSEICNN:
    """A potential of strongly convex modes of one strain; torch's random state is left alone."""
    with seeded(seed):
        return LSEICNN(1, modes, hidden=hidden, network=WhitenedICNN, dtype=torch.float64)


def _start_energy(
    t: Element, parent: tuple[float, float], child: tuple[float, float], energy: float
) -> float:
    """The constant of the new phase's line energy with which it begins to form at its start."""
    e = t.side * t.start
    before = energy + parent[0] * e + 0.5 * parent[1] * e * e
    after = child[0] * e + 0.5 * child[1] * e * e
    mixing, threshold = _friction(t)
    return before - after - 0.5 * threshold + 0.5 * mixing


def _friction(t: Element) -> tuple[float, float]:
    """A and k+ + k-."""
    end = t.start + t.width
    mixing = t.gain(end) - t.gain(t.start)
    threshold = t.gain(end) - t.gain(end - t.lag)
    return max(mixing, LEAST_ENERGY), max(threshold, LEAST_ENERGY)


@torch.no_grad()
def _set_phases(
    potential: LSEICNN, lines: list[tuple[float, float]], energies: list[float]
) -> None:
    """Give the modes the energies c + a e + b e^2 / 2 for lines (a, b) and constants c."""
    offset, slope = torch.tensor(lines, dtype=torch.float64).T
    centre = -offset / slope
    network = whitened(potential.network)
    network.loc.copy_(centre.unsqueeze(-1))
    network.log_diagonal.copy_(0.5 * slope.log().unsqueeze(-1))
    network.icnn.weight.zero_()
    at_centre = torch.tensor(energies, dtype=torch.float64) - 0.5 * slope * centre.square()
    network.icnn.bias.copy_(at_centre.unsqueeze(-1))


@torch.no_grad()
def _set_friction(model: Play, order: list[Element]) -> None:
    for j, t in enumerate(order):
        mixing, threshold = _friction(t)
        values = torch.tensor([mixing, 0.5 * threshold, 0.5 * threshold], dtype=torch.float64)
        model.raw[:, j] = softplus_inverse(values)


def phase_energies(model: Elastic, e: Tensor) -> Tensor:
    """Energies of the phases at strains (n,), (n, phases), in model units."""
    return model.potential.mode_potentials(e.unsqueeze(-1))


def phase_stress(model: Elastic, e: Tensor) -> Tensor:
    """Stresses of the phases at strains (n,), (n, phases), in model units."""
    stack, layout = model.potential.network.stack().unstack().place(e.reshape(-1, 1, 1))
    energy, kept = stack.forward(layout.x)
    return layout.restore(stack.pullback(torch.ones_like(energy), kept))[..., 0]
