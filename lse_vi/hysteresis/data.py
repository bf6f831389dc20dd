"""Tests laid out for a model: in its units, side by side, with a weight for every row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lse_vi.hysteresis.elements import Units
from lse_vi.hysteresis.loops import Loop, loops, strain_spikes, thinned
from lse_vi.hysteresis.records import Column, Record
from lse_vi.materials.elastic import Elastic

FOLDS = 5  # parts of the data, each of which is held out once


@dataclass(frozen=True)
class Data:
    """All tests, in units of the model.

    A test that ends early rests at its last strain, with weights of zero: a rest moves no state.

    Attributes:
        strain, stress: (times, tests).
        weight: 0 where there is no row, or one that is left out; (times, tests).
        rows: number of rows of each test.
        units: of strain and stress.
        turns: the loops of each test.
    """

    strain: Tensor
    stress: Tensor
    weight: Tensor
    rows: tuple[int, ...]
    units: Units
    turns: tuple[tuple[Loop, ...], ...]

    @classmethod
    def of(cls, records: list[Record]) -> Data:
        """Lay out tests; strains that jump away and back are put on their path."""
        cleaned = [strain_spikes(r.strain) for r in records]
        units = Units(
            max(float(np.abs(e).max()) for e in cleaned),
            max(float(np.quantile(np.abs(r.stress), 0.99)) for r in records),
        )
        rows = tuple(len(r.strain) for r in records)
        shape = (max(rows), len(rows))
        strain, stress, weight = np.empty(shape), np.zeros(shape), np.zeros(shape)
        for i, (record, e, n) in enumerate(zip(records, cleaned, rows, strict=True)):
            strain[:n, i], strain[n:, i] = e / units.strain, e[-1] / units.strain
            stress[:n, i] = record.stress / units.stress
            weight[:n, i] = record.strain == e
        span = float(np.ptp(strain))
        found = tuple(tuple(loops(strain[:n, i], span)) for i, n in enumerate(rows))
        strains, stresses, weights = map(torch.as_tensor, (strain, stress, weight))
        return cls(strains, stresses, weights, rows, units, found)

    @property
    def count(self) -> int:
        """Number of rows that count."""
        return int((self.weight > 0).sum())

    @property
    def span(self) -> float:
        """The range of strain, in units of the model."""
        return float(self.strain.max() - self.strain.min())

    def column(self, values: Tensor, test: int) -> Column:
        """The rows of one test, of values (times, tests)."""
        return values[: self.rows[test], test].detach().numpy()

    def thinned(self, most: int) -> Data:
        """About ``most`` rows of all, with every turn among them."""
        total = sum(self.rows)
        if total <= most:
            return self
        kept = [
            torch.as_tensor(thinned(self.column(self.strain, i), most * n // total, self.span))
            for i, n in enumerate(self.rows)
        ]
        longest = max(len(rows) for rows in kept)
        # Beyond its end a test rests at its last row, with no weight.
        index = torch.stack([torch.cat([r, r[-1:].expand(longest - len(r))]) for r in kept], dim=1)
        there = torch.stack([torch.arange(longest) < len(r) for r in kept], dim=1)
        strain, stress, weight = (
            part.gather(0, index) for part in (self.strain, self.stress, self.weight)
        )
        rows = tuple(len(r) for r in kept)
        return Data(strain, stress, weight * there, rows, self.units, ())

    def prepared(self, model: Elastic) -> Any:
        """The strains as ``model`` reads them."""
        return model.prepare(self.units.strain * self.strain.mT.unsqueeze(-1))

    def without(self, out: Tensor) -> Data:
        """The same data with no weight in the rows ``out``, (times, tests)."""
        return replace(self, weight=self.weight * ~out)

    def split(self) -> list[Tensor]:
        """Which rows each fold holds out, (times, tests): whole tests, or loops of the only one.

        With several tests those that are held out say how another specimen would do. The states
        follow the whole path of strain in any case: only stresses are held out.
        """
        part = torch.full_like(self.strain, -1)
        if len(self.rows) > 1:
            part[:] = torch.arange(len(self.rows)) % FOLDS
        else:
            for i, loop in enumerate(self.turns[0]):
                part[loop.first : loop.last + 1] = i % FOLDS
            if len(self.turns[0]) < 2:  # ten stretches of the only loop, dealt out in turn
                stretch = torch.arange(len(part)) * 2 * FOLDS // len(part)
                part[:] = (stretch % FOLDS).to(part).unsqueeze(-1)
        return [part == k for k in range(FOLDS) if bool(((part == k) & (self.weight > 0)).any())]
