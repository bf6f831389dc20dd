"""Reaction networks: which species there are, what each reaction changes, and how fast it fires.

Begin here to describe a network of your own; `gillespie` and `master_equation` take it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import factorial, prod
from typing import TypeVar

import numba
import numpy as np
from numpy.typing import ArrayLike

from data_gen._validate import non_negative, real_array, whole_array
from data_gen.arrays import FloatArray, IntArray

LARGEST_ORDER = 100
"""Copies of one reactant: nature has three, and m! of 171 is beyond float64."""

Array = TypeVar("Array", FloatArray, IntArray)
Propensities = Callable[[FloatArray, FloatArray, FloatArray], None]
"""A function of counts, rates and the array that it writes the propensities into."""

_VECTOR = numba.types.float64[::1]
_SIGNATURE = numba.types.void(_VECTOR, _VECTOR, _VECTOR)


class MassAction:
    r"""Mass-action kinetics: a rate constant times the ways to choose the reactants.

    .. math:: a_j(n) = k_j \prod_s \binom{n_s}{m_{js}}

    so an order of 2 gives n(n-1)/2 and an order of 3 gives n(n-1)(n-2)/6.

    Args:
        rates: constants k, shape (reactions,), per unit of time, >= 0.
        orders: reactant copies m, shape (reactions, species), whole numbers >= 0.

    Raises:
        ValueError: if a shape or a sign is wrong.

    Example:
        >>> dimerisation = ReactionNetwork(["A"], [[-2]], MassAction([0.5], [[2]]))
        >>> dimerisation.propensities([[1], [2], [3]]).tolist()
        [[0.0], [0.5], [1.5]]
    """

    def __init__(self, rates: ArrayLike, orders: ArrayLike) -> None:
        self.rates = _frozen(real_array("rates", rates, ndim=1))
        self.orders = _frozen(whole_array("orders", orders, ndim=2))
        non_negative("rates", self.rates)
        non_negative("orders", self.orders)
        if self.orders.size and self.orders.max() > LARGEST_ORDER:
            raise ValueError(
                f"orders must be at most {LARGEST_ORDER} copies of a reactant, but got "
                f"{self.orders.max()}"
            )
        if len(self.rates) != len(self.orders):
            raise ValueError(
                f"rates and orders must have one row per reaction, but got "
                f"{len(self.rates)} rates and orders of shape {self.orders.shape}"
            )

    @cached_property
    def scales(self) -> FloatArray:
        """k_j / prod_s m_js!, shape (reactions,): the constant before the product of factors."""
        ways = [prod(factorial(m) for m in row) for row in self.orders.tolist()]
        return np.divide(self.rates, np.array(ways, np.float64))

    @cached_property
    def factors(self) -> list[list[tuple[int, int]]]:
        """Per reaction the pairs (s, i), i < m_js, of the factors (n_s - i).

        With n_s < m_js one of the factors is exactly zero, so no count needs a special case.
        """
        return [
            [(s, i) for s, order in enumerate(row) for i in range(order)]
            for row in self.orders.tolist()
        ]

    def fill(self, counts: FloatArray, out: FloatArray) -> None:
        """Write the propensities at counts (points, species) into out (points, reactions)."""
        out[:] = self.scales
        with np.errstate(over="ignore", invalid="ignore"):
            for j, factors in enumerate(self.factors):
                for s, i in factors:
                    out[:, j] *= counts[:, s] - i


class CustomKinetics:
    """Propensities from a function, for rates that mass action cannot express.

    Args:
        rates: parameters that `function` receives, shape (parameters,).
        function: `function(counts, rates, out)` writes all propensities, shape (reactions,), into
            `out` and leaves its other arguments alone. `counts` has shape (species,) and holds
            whole numbers as float64. The simulator compiles it with numba; it must not raise, and
            division by zero gives inf or NaN, which the simulator reports.

    Raises:
        TypeError: if the function is not callable.
        ValueError: if the rates are not finite numbers of shape (parameters,).

    Example:
        >>> def repressed(counts, rates, out):
        ...     out[0] = rates[0] / (1.0 + counts[0] ** 2)
        ...     out[1] = rates[1] * counts[0]
        >>> gene = ReactionNetwork(["P"], [[1], [-1]], CustomKinetics([10.0, 1.0], repressed))
        >>> gene.propensities([[0], [3]]).tolist()
        [[10.0, 0.0], [1.0, 3.0]]
    """

    def __init__(self, rates: ArrayLike, function: Propensities) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, but got {function!r}")
        self.rates = _frozen(real_array("rates", rates, ndim=1))
        # A function that the caller has compiled already is taken back to its Python source.
        self.function: Propensities = getattr(function, "py_func", function)

    @cached_property
    def compiled(self) -> Propensities:
        """The function as a numba C callback: one type for all, so kernels stay cached on disk.

        Where it leaves its arrays, at whatever counts, all propensities are NaN, which the
        simulator reports; without the check it would write into other memory.
        """
        inner = numba.njit(error_model="numpy", boundscheck=True)(self.function)

        def guarded(counts: FloatArray, rates: FloatArray, out: FloatArray) -> None:
            try:
                inner(counts, rates, out)
            except Exception:  # numba knows no other
                out[:] = np.nan

        try:
            return numba.cfunc(_SIGNATURE, error_model="numpy")(guarded)
        except numba.core.errors.NumbaError as error:
            raise TypeError(
                f"function {self.function.__name__!r} must be compilable by numba as "
                f"f(counts, rates, out), but numba said: {error}"
            ) from error

    def check_bounds(self, counts: FloatArray, reactions: int) -> None:
        """The function must stay inside its arrays at counts (species,).

        What else it raises is not asked here, as compiled code answers with NaN, which the
        simulator reports.
        """
        try:
            self.fill(counts.reshape(1, -1), np.full((1, reactions), np.nan))
        except IndexError as error:
            raise ValueError(
                f"function must stay inside its arrays of {len(counts)} counts, {len(self.rates)} "
                f"rates and {reactions} propensities, but {error}"
            ) from error
        except (ArithmeticError, ValueError):
            return

    def fill(self, counts: FloatArray, out: FloatArray) -> None:
        """Write the propensities at counts (points, species) into out (points, reactions)."""
        with np.errstate(all="ignore"):
            for row, target in zip(counts, out, strict=True):
                self.function(row, self.rates, target)


@dataclass(frozen=True, init=False, eq=False, repr=False)
class ReactionNetwork:
    """A well-mixed system of reactions between species that come in whole numbers.

    Args:
        species: one name per species.
        stoichiometry: net change of each species by one firing, shape (reactions, species).
        kinetics: `MassAction(rates, orders)` or `CustomKinetics(rates, function)`.

    Raises:
        ValueError: if names repeat, shapes disagree, or a mass-action reaction would consume more
            copies than it needs to be present, which drives counts below zero.

    Example:
        >>> ReactionNetwork(
        ...     ["A", "B"],
        ...     [[1, 0], [-2, 1]],
        ...     MassAction(rates=[5.0, 0.1], orders=[[0, 0], [2, 0]]),
        ... )
        ReactionNetwork of 2 species, 2 reactions, MassAction
          0: 0 -> A    rate 5
          1: 2 A -> B    rate 0.1
    """

    species: tuple[str, ...]
    stoichiometry: IntArray
    kinetics: MassAction | CustomKinetics

    def __init__(
        self,
        species: Sequence[str],
        stoichiometry: ArrayLike,
        kinetics: MassAction | CustomKinetics,
    ) -> None:
        changes = _frozen(whole_array("stoichiometry", stoichiometry, ndim=2))
        object.__setattr__(self, "species", _names(species))
        object.__setattr__(self, "stoichiometry", changes)
        object.__setattr__(self, "kinetics", kinetics)
        if len(changes) == 0 or changes.shape[1] != len(self.species):
            raise ValueError(
                f"stoichiometry must have shape (reactions, {len(self.species)}) with at least "
                f"one reaction, but got {changes.shape}"
            )
        if isinstance(kinetics, MassAction):
            _check_mass_action(self.species, changes, kinetics.orders)
        elif not isinstance(kinetics, CustomKinetics):
            raise TypeError(f"kinetics must be MassAction or CustomKinetics, got {kinetics!r}")

    @property
    def reactions(self) -> int:
        """Number of reactions."""
        return len(self.stoichiometry)

    def propensities(self, counts: ArrayLike) -> FloatArray:
        """Propensities (*points, reactions), per unit of time, at counts (*points, species)."""
        n = np.array(counts, dtype=np.float64)
        if n.ndim == 0 or n.shape[-1] != len(self.species):
            raise ValueError(
                f"counts must have shape (..., {len(self.species)}), but got {n.shape}"
            )
        out = np.full((*n.shape[:-1], self.reactions), np.nan)  # NaN where nothing is written
        self.kinetics.fill(n.reshape(-1, n.shape[-1]), out.reshape(-1, self.reactions))
        return out

    def __repr__(self) -> str:
        head = (
            f"ReactionNetwork of {len(self.species)} species, {self.reactions} reactions, "
            f"{type(self.kinetics).__name__}"
        )
        return "\n".join([head, *(f"  {j}: {self._line(j)}" for j in range(self.reactions))])

    def _line(self, j: int) -> str:
        changes = self.stoichiometry[j]
        if isinstance(self.kinetics, CustomKinetics):
            named = zip(self.species, changes, strict=True)
            return ", ".join(f"{name} {change:+d}" for name, change in named if change) or "0"
        before = self.kinetics.orders[j]
        return (
            f"{self._side(before)} -> {self._side(before + changes)}"
            f"    rate {self.kinetics.rates[j]:g}"
        )

    def _side(self, copies: IntArray) -> str:
        named = zip(self.species, copies, strict=True)
        return " + ".join(f"{c} {name}" if c > 1 else name for name, c in named if c) or "0"


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _names(species: Sequence[str]) -> tuple[str, ...]:
    if isinstance(species, str) or not all(isinstance(name, str) and name for name in species):
        raise TypeError(f"species must be a sequence of names, but got {species!r}")
    names = tuple(species)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"species must be at least one name, all distinct, but got {names}")
    return names


def _check_mass_action(names: Sequence[str], changes: IntArray, orders: IntArray) -> None:
    if orders.shape != changes.shape:
        raise ValueError(
            f"orders must have the shape of stoichiometry, {changes.shape}, but got {orders.shape}"
        )
    for j, s in np.argwhere(changes + orders < 0):
        raise ValueError(
            f"stoichiometry of reaction {j} takes {-changes[j, s]} {names[s]}, but its order in "
            f"{names[s]} is only {orders[j, s]}: it could drive the count below zero; raise the "
            f"order or use CustomKinetics"
        )
