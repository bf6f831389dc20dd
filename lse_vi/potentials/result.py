"""The result of a fit of a potential."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lse_vi.checks import check_index
from lse_vi.fitting.history import History
from lse_vi.fitting.report import counted, number, place
from lse_vi.network.potential import ACTIVE, LSEICNN
from lse_vi.numerics.minima import Minima
from lse_vi.potentials.targets import Targets
from lse_vi.potentials.training import Errors
from lse_vi.signatures.checked import checked

SHOWN_OUTLIERS = 5  # rows that a warning names
MINIMA_STARTS = 200  # data points from which minima are searched: enough to start in every well


@dataclass
class PotentialFit:
    """What :func:`lse_vi.fit_potential` found; print it for a table of the wells.

    Attributes:
        potential: the fitted :class:`LSEICNN`, batch shape (*batch,).
        active_modes: number of modes that are responsible for at least 1% of the data, (*batch,).
        error: root of the weighted mean squared error on the points that were fitted, as a share
            of the spread of the targets, (*batch,).
        held_out_error: the same on the held-out points; NaN if there are none.
        history: lists with an entry for each look at the best restart. An entry is a number, or
            nested lists over the batch: ``step``, ``loss`` and ``held_out`` (the weighted mean
            squares that are minimised), ``active_modes``, ``rho``, and for each mode ``gates`` and
            ``shares`` (mean responsibilities).
        points: all data points that were fitted, (n, *batch, dim).
        outliers: which of the points given were left out, as they contradict all others.
        warnings: what the user must know before trusting the result; empty if nothing.

    Example:
        >>> import torch
        >>> from lse_vi import fit_potential
        >>> x = torch.linspace(-2, 2, 100)
        >>> pot = LSEICNN(1, 2, hidden=(5,))
        >>> res = fit_potential(pot, x, value=(x**2 - 1) ** 2, restarts=2, progress=False)
        >>> res.minima.points.shape, len(res.history["step"]) == len(res.history["loss"])
        (torch.Size([2, 1]), True)
    """

    potential: LSEICNN
    active_modes: Tensor
    error: Tensor
    held_out_error: Tensor
    history: History = field(repr=False)
    points: Tensor = field(repr=False)
    outliers: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    @cached_property
    def minima(self) -> Minima:
        """The wells of a single potential: minima of E within the range of the data, lowest first.

        Raises:
            ValueError: for a batch of potentials; take one with :meth:`select`.
        """
        found = self.potential.minima(self.points[:: math.ceil(len(self.points) / MINIMA_STARTS)])
        low, high = self.points.amin(0), self.points.amax(0)
        around = self.potential.units.period.isfinite()  # a circle has no range
        inside = (around | (found.points >= low) & (found.points <= high)).all(-1)
        return Minima(found.points[inside], found.energies[inside])

    @checked
    def select(self, index: int | tuple[int, ...]) -> PotentialFit:
        """The fit of one data set, at ``index`` of the batch."""
        where = check_index("index", index, self.potential.batch_shape)

        def pick(entry: Any) -> Any:
            for i in where:
                entry = entry[i]
            return entry

        history = {
            key: values if key == "step" else [pick(entry) for entry in values]
            for key, values in self.history.items()
        }
        return PotentialFit(
            potential=self.potential.select(where),
            active_modes=self.active_modes[where],
            error=self.error[where],
            held_out_error=self.held_out_error[where],
            history=history,
            points=self.points.movedim(0, -2)[where],
            outliers=self.outliers,
            warnings=self.warnings,
        )

    def leave_out(self, given: Targets, kept: Tensor) -> None:
        """Say which of the points ``given`` were not among those ``kept``."""
        mask = torch.ones(len(given), dtype=torch.bool)
        mask[kept.cpu()] = False
        self.outliers = tuple(given.rows.cpu()[mask].tolist())
        which = ", ".join(map(str, self.outliers[:SHOWN_OUTLIERS]))
        more = ", ..." if len(self.outliers) > SHOWN_OUTLIERS else ""
        self.warnings = (
            f"left out, as they contradict all other points: {len(self.outliers)} of "
            f"{len(given)} (row {which}{more}); correct or drop them",
        )

    def __str__(self) -> str:
        lines = [f"fit of {self.potential.extra_repr()}"]
        batch = self.active_modes.shape
        for index in np.ndindex(*batch):
            one = self.select(index) if batch else self
            where = f"[{', '.join(map(str, index))}] " if batch else ""
            lines.append(
                f"{where}{counted(int(one.active_modes), 'mode')}, "
                f"{counted(len(one.minima.points), 'minimum', 'minima')}, "
                f"error {float(one.error):.2e}, held out {float(one.held_out_error):.2e} "
                "(shares of the targets' spread)"
            )
            for point, energy in zip(*one.minima, strict=True):
                at = place(point.tolist(), (one.points.amax(0) - one.points.amin(0)).tolist())
                energies = number(float(energy), float(one.potential.units.height))
                lines.append(f"    minimum at ({at})  E = {energies}")
        return "\n".join(lines + [f"WARNING: {text}" for text in self.warnings])


@torch.no_grad()
def result_of(pot: LSEICNN, given: Targets, errors: Errors, history: History) -> PotentialFit:
    """The result of a fit, in the units given; ``errors`` are those of a batch of one restart."""
    x = given.places.to(pot.point_dtype)
    if given.value is None:  # E is free up to a constant
        pot.add_offset_(-pot(x).amin(0))
    return PotentialFit(
        potential=pot,
        active_modes=(given.mean(pot.responsibilities(x)) > ACTIVE).sum(-1),
        error=errors.fitted.squeeze(0),
        held_out_error=errors.unseen.squeeze(0),
        history=history,
        points=x,
    )
