"""What a fit of tests found, as a tester reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from lse_vi.hysteresis.loops import Loop
from lse_vi.hysteresis.records import Column, Record, as_column
from lse_vi.materials.elastic import Elastic
from lse_vi.signatures.checked import checked

# Shares of the largest energy of a loop, and of the ranges of strain and stress, below which the
# relative error of an energy is not told: it would be that of nothing.
FEW_LOOPS, NO_LOOP = 0.1, 1e-3


class Estimate(NamedTuple):
    """A number with its error.

    Attributes:
        value: the best one; if the tests do not tell it, the least one that agrees with them.
        error: standard error; infinite if the tests do not tell the value.
        at_least: ``value`` if it is the least one that agrees with the tests; else NaN.
    """

    value: float
    error: float
    at_least: float = math.nan

    @property
    def determined(self) -> bool:
        """Whether the tests tell the value."""
        return math.isfinite(self.error)

    def __str__(self) -> str:
        if self.determined:
            return f"{self.value:.4g} +- {self.error:.2g}"
        if math.isfinite(self.at_least):
            return f"at least {self.at_least:.4g}"
        return "not reached" if math.isnan(self.value) else "not determined"


@dataclass(frozen=True)
class Transition:
    """One transition between phases, in the user's units.

    Attributes:
        phase, parent: numbers of the phase that forms and of that from which it does, from 0.
        side: 1 in tension, -1 in compression.
        strain: by which the phases differ at zero stress.
        mixing, threshold: A and k+ + k-, in stress times strain; the second is the energy that a
            full loop dissipates.
        start, end, back_start, back_end: stresses at which the share begins to grow, is 1, begins
            to shrink, and is 0 again.
        reach: the largest share that the tests reach; if that is not the whole, how much of it is
            unknown, and this is the model's.
        complete: whether they reach the whole.
    """

    phase: int
    parent: int
    side: int
    strain: Estimate
    mixing: Estimate
    threshold: Estimate
    start: Estimate
    end: Estimate
    back_start: Estimate
    back_end: Estimate
    reach: float
    complete: bool

    def __str__(self) -> str:
        where = "tension" if self.side > 0 else "compression"
        return "\n".join(
            [
                f"  phase {self.phase} from {self.parent}, in {where}: "
                + (f"share 0 to {self.reach:.3g}" if self.complete else "never complete"),
                f"    strain {self.strain}",
                f"    forward from {self.start} to {self.end}",
                f"    back from {self.back_start} to {self.back_end}",
                f"    A {self.mixing}, k+ + k- {self.threshold}",
            ]
        )


class LoopEnergy(NamedTuple):
    """The energy that one loop dissipates, in stress times strain.

    Attributes:
        test: its number.
        loop: its rows.
        data: the integral of stress over strain, less what the model has stored between the ends of
            the loop: nothing, if it is closed.
        model: k+ + k- over two, times all changes of the shares.
    """

    test: int
    loop: Loop
    data: float
    model: float


class Trial(NamedTuple):
    """One number of phases that was tried.

    Attributes:
        phases: their number K.
        curved: whether networks bend the phases.
        rmse, held_out_rmse: in the unit of stress.
    """

    phases: int
    curved: bool
    rmse: float
    held_out_rmse: float


@dataclass(frozen=True)
class HysteresisFit:
    """What :func:`~lse_vi.fit_memory` returns for a list of tests; ``print`` shows it.

    Attributes:
        model: a :class:`~lse_vi.Play`, or an :class:`~lse_vi.Elastic` if no loop was found.
        tests: as they were read.
        fitted: the model's stress at every row of each test.
        held_out: the stress that a fit without this test (or, of a single test, without this loop)
            gives at every row.
        left_out: rows of each test that stand alone and were set aside.
        transitions: what forms from what, and where.
        r2, rmse, held_out_r2, held_out_rmse: of the stress; the errors in its unit.
        scatter: standard deviation of single rows of the data, by their neighbours.
        energies: what each loop dissipates.
        trials: the numbers of phases that were tried, the chosen one at the end.
        warnings: what a reader should know before using the fit.

    Example:
        >>> from lse_vi import fit_memory
        >>> strain = 0.01 * np.sin(np.linspace(0, 3, 60))
        >>> result = fit_memory([(strain, 40e3 * strain)], progress=False)
        >>> print(str(result).splitlines()[0])
        1 test, 60 rows: 1 phase
    """

    model: Elastic = field(repr=False)
    tests: list[Record] = field(repr=False)
    fitted: list[Column] = field(repr=False)
    held_out: list[Column] = field(repr=False)
    left_out: list[np.ndarray] = field(repr=False)
    transitions: tuple[Transition, ...]
    r2: float
    rmse: float
    held_out_r2: float
    held_out_rmse: float
    scatter: float
    energies: list[LoopEnergy] = field(repr=False)
    trials: list[Trial] = field(repr=False)
    warnings: list[str]

    @property
    def phases(self) -> int:
        """Number of phases."""
        return len(self.transitions) + 1

    @checked
    def predict(self, strain: Any) -> np.ndarray:
        """The stress along one path of strain, from the virgin state: (rows,) -> (rows,).

        Args:
            strain: an array, a list, a Series or a tensor, in the unit of the tests.

        Raises:
            TypeError, ValueError: for anything but one column of two finite numbers or more.
        """
        path = as_column("strain", strain)
        if len(path) < 2:
            raise ValueError(f"strain must hold two values or more, but got {len(path)}")
        with torch.no_grad():
            return self.model(torch.as_tensor(path)[:, None]).stress[:, 0].numpy()

    @property
    def energy_error(self) -> float:
        """Mean relative error of a loop's energy, the smallest left out; NaN without loops."""
        largest = max((abs(e.data) for e in self.energies), default=0.0)
        ranges = (np.ptp(np.concatenate([getattr(t, c) for t in self.tests])) for c in COLUMNS)
        least = max(FEW_LOOPS * largest, NO_LOOP * float(np.prod(list(ranges))))
        told = [abs(e.model - e.data) / abs(e.data) for e in self.energies if abs(e.data) > least]
        return float(np.mean(told)) if told else math.nan

    def __str__(self) -> str:
        rows = sum(len(test.strain) for test in self.tests)
        several = len(self.tests) > 1
        lines = [
            f"{len(self.tests)} test{'s' * several}, {rows} rows: {self.phases} "
            f"phase{'s' * (self.phases > 1)}"
            + (", bent by networks" if self.trials[-1].curved else ""),
            f"  stress, fitted    R2 {_r2(self.r2)}, RMSE {self.rmse:.4g}",
            f"  stress, held out  R2 {_r2(self.held_out_r2)}, RMSE {self.held_out_rmse:.4g} "
            f"(each {'test' if several else 'loop'} by a fit to the others)",
            f"  scatter of the data, row by row: {self.scatter:.4g}",
        ]
        if not math.isnan(self.energy_error):
            data, model = (sum(getattr(e, name) for e in self.energies) for name in Energies)
            lines.append(
                f"  lost in {len(self.energies)} loops: data {data:.4g}, model {model:.4g}; "
                f"of one loop wrong by {self.energy_error:.1%} on average"
            )
        lines += [str(transition) for transition in self.transitions]
        lines += [f"  WARNING: {warning}" for warning in self.warnings]
        return "\n".join(lines)


Energies, COLUMNS = ("data", "model"), ("strain", "stress")


def _r2(value: float) -> str:
    """R2 with as many digits as show its distance from one."""
    digits = 2 if not 0 <= value < 1 else int(np.clip(2 - math.log10(1 - value), 2, 8))
    return f"{value:.{digits}f}"
