"""``fit_memory``: a material from tests with loops, or the fit of a model of the user's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from lse_vi.checks import check_count, check_counts
from lse_vi.hysteresis.advice import about_fit, about_tests
from lse_vi.hysteresis.data import Data
from lse_vi.hysteresis.elements import Units, corrected
from lse_vi.hysteresis.loops import averaged, loops, scatter, work
from lse_vi.hysteresis.marks import Marks, marks
from lse_vi.hysteresis.records import Column, Record, read_tests
from lse_vi.hysteresis.result import Estimate, HysteresisFit, LoopEnergy, Transition, Trial
from lse_vi.hysteresis.selection import Choice, choose, complete, finish, gains
from lse_vi.hysteresis.uncertainty import errors_of_marks
from lse_vi.materials.elastic import Elastic
from lse_vi.materials.fit import fit_memory as fit_model
from lse_vi.materials.play import Play
from lse_vi.materials.result import MemoryFit
from lse_vi.progress.bars import Bar
from lse_vi.signatures.checked import checked
from lse_vi.signatures.gradients import with_gradients

# Error over scatter above which phases are given networks: below it nothing is left to learn.
MISFIT = 1.05


@overload
def fit_memory(
    tests: Any, strain: str = "strain", stress: str = "stress", **settings: Any
) -> HysteresisFit: ...


@overload
def fit_memory(tests: Elastic, strain: Any, stress: Any, **settings: Any) -> MemoryFit: ...


@checked
@with_gradients()
def fit_memory(
    tests: Any, strain: Any = "strain", stress: Any = "stress", **settings: Any
) -> HysteresisFit | MemoryFit:
    r"""Find a material with memory in tests of stress and strain, such as those of a machine.

    Use it for hysteresis in one dimension: stress over strain, force over displacement, or field
    over magnetisation, where a new specimen starts on the virgin curve. The result is a
    :class:`~lse_vi.Play`, which dissipates energy in every loop and makes none. Its transitions are
    found one at a time: every combination of start, width and lag on a lattice is tried at once,
    since the stress is linear in what is left; the best ones are polished by second-order steps;
    and one more phase, or networks that bend the phases, are kept if rows that were held out are
    predicted better, beyond chance.

    With a model as the first argument, this is :func:`lse_vi.materials.fit.fit_memory`: the fit of
    a model of your own, in any dimension, to ``strain`` and ``stress`` (paths, times, *event).

    Args:
        tests: a list with one (strain, stress) or (time, strain, stress) for each test, or a table
            for each; tests may have different lengths. A single one of these is one test. Units are
            those of the data.
        strain, stress, times: names of the columns of tables; ``times`` may be missing there.
        modes: the largest number of phases K.
        hidden: widths of the networks that may bend the phases; () for straight ones.
        resample: average each branch between two turns to so many points: for files of 50,000 rows
            and more. The turns stay.
        names: of the tests, for the report.
        seed: for the start of the networks; two calls with one seed agree. The random state of the
            caller is left alone.
        progress: show a bar.

    Raises:
        TypeError, ValueError: for tests that are none of these, columns that are missing, hold no
            numbers, or differ in length, fewer than ten rows, NaN or infinity, and times that do
            not increase; the error names the test, the column and the row.

    Example:
        >>> import numpy as np
        >>> from lse_vi import fit_memory
        >>> strain = np.interp(np.arange(121), [0, 40, 60, 80, 120], [0, 0.06, 0.02, 0.06, 0])
        >>> share = 0.0
        >>> stress = []
        >>> for e in strain:  # a wire that turns at 400 MPa, and back at 200 MPa
        ...     share = np.clip(share, (40e3 * e - 400) / 1600, (40e3 * e - 200) / 1600)
        ...     share = np.clip(share, 0, 1)
        ...     stress.append(40e3 * (e - 0.04 * share))
        >>> result = fit_memory([(strain, stress)], progress=False)
        >>> result.phases, round(float(result.transitions[0].threshold.value), 3)
        (2, 8.0)
        >>> result.predict(strain).shape
        (121,)
    """
    if isinstance(tests, Elastic):
        return fit_model(tests, strain, stress, **settings)
    return fit_tests(tests, strain=strain, stress=stress, **settings)


@checked
def fit_tests(
    tests: Any,
    *,
    strain: str = "strain",
    stress: str = "stress",
    times: str = "time",
    modes: int = 4,
    hidden: Sequence[int] = (6,),
    resample: int | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> HysteresisFit:
    """The form of :func:`fit_memory` for tests."""
    check_count("modes", modes)
    widths = check_counts("hidden", hidden)
    check_count("seed", seed, minimum=0)
    records = read_tests(tests, strain=strain, stress=stress, times=times, names=names)
    if resample is not None:
        records = _resampled(records, check_count("resample", resample))
    data = Data.of(records)
    noise = _scatter(records)
    with Bar(total=modes, desc="phases", disable=not progress) as bar:

        def show(choice: Choice) -> None:
            bar.update()
            bar.set_postfix(rmse=f"{_rmse(choice, choice.error):.3g}", refresh=False)

        tried = choose(data, modes, noise / data.units.stress, show)
        straight = tried[-1]
        if widths and _rmse(straight, straight.error) > MISFIT * noise:
            model = corrected(straight.model, widths, seed)
            prior = straight.mean_square(straight.error)
            curved = finish(model, straight.sides, straight.data, prior=prior)
            if gains(straight, curved):
                tried.append(curved)
    return _result(records, tried, noise)


def _resampled(records: list[Record], points: int) -> list[Record]:
    span = float(np.ptp(np.concatenate([r.strain for r in records])))
    found = []
    for r in records:
        columns = [r.strain, r.stress, *([] if r.times is None else [r.times])]
        strain, stress, *clock = averaged(columns, points, span)
        found.append(Record(r.name, strain, stress, clock[0] if clock else None))
    return found


def _scatter(records: list[Record]) -> float:
    """The scatter of single rows over all tests, in the user's unit of stress."""
    span = float(np.ptp(np.concatenate([r.strain for r in records])))
    each = [(scatter(r.strain, r.stress, span), len(r.strain)) for r in records]
    return math.sqrt(sum(s * s * n for s, n in each) / sum(n for _, n in each))


def _rmse(choice: Choice, errors: Tensor) -> float:
    """The error of the rows that count, in the user's unit of stress."""
    return choice.data.units.stress * math.sqrt(choice.mean_square(errors))


def _result(records: list[Record], tried: list[Choice], noise: float) -> HysteresisFit:
    best = tried[-1]
    data = best.data
    unit = data.units.stress
    fitted, held_out, left_out = [], [], []
    for i, record in enumerate(records):
        fitted.append(record.stress + unit * data.column(best.error, i))
        held_out.append(record.stress + unit * data.column(best.held_out, i))
        left_out.append(data.column(data.weight, i) == 0)
    kept = np.concatenate([r.stress[~out] for r, out in zip(records, left_out, strict=True)])
    variance = float(kept.var())
    transitions = _transitions(best)
    rmse, held = _rmse(best, best.error), _rmse(best, best.held_out)
    trials = [
        Trial(len(t.sides) + 1, bool(t.model.potential.hidden), _rmse(t, t.error),
              _rmse(t, t.held_out))
        for t in tried
    ]  # fmt: skip
    result = HysteresisFit(
        model=best.model.requires_grad_(False),
        tests=records,
        fitted=fitted,
        held_out=held_out,
        left_out=left_out,
        transitions=transitions,
        r2=1 - rmse**2 / variance,
        rmse=rmse,
        held_out_r2=1 - held**2 / variance,
        held_out_rmse=held,
        scatter=noise,
        energies=_energies(records, fitted, left_out, _lost(best)),
        trials=trials,
        warnings=about_tests(records),
    )
    result.warnings.extend(about_fit(result))
    return result


def _energies(
    records: list[Record],
    fitted: list[Column],
    left_out: list[np.ndarray],
    lost: list[Column],
) -> list[LoopEnergy]:
    """What every loop dissipates, by the data and by the model, over the rows that count.

    The energy that an open loop stores is that of the model: data differ in their work.
    """
    span = float(np.ptp(np.concatenate([r.strain for r in records])))
    found = []
    for i, (record, model, out) in enumerate(zip(records, fitted, left_out, strict=True)):
        for loop in loops(record.strain, span):
            rows = np.arange(loop.first, loop.last + 1)
            energy = float(lost[i][rows[1:]].sum())
            rows = rows[~out[rows]]
            more = work(record.strain[rows], (record.stress - model)[rows])
            found.append(LoopEnergy(i, loop, energy + more, energy))
    return found


@torch.no_grad()
def _lost(choice: Choice) -> list[Column]:
    """The energy that the model loses in the step up to each row of each test.

    Half of k+ + k- is lost each way: no stress tells k+ from k-.
    """
    model, data = choice.model, choice.data
    if not isinstance(model, Play):
        return [np.zeros(n) for n in data.rows]
    share = model.march(data.prepared(model))
    change = share.diff(dim=0, prepend=torch.zeros_like(share[:1])).abs()
    lost = 0.5 * data.units.energy * (change * model.thresholds.sum(0)).sum(-1)
    return [data.column(lost, i) for i in range(len(data.rows))]


def _transitions(choice: Choice) -> tuple[Transition, ...]:
    """What forms from what, in the user's units."""
    model, data = choice.model, choice.data
    if not isinstance(model, Play):
        return ()
    with torch.no_grad():
        values = marks(model, choice.sides)
        share = model.march(data.prepared(model))
    errors = Marks(*errors_of_marks(choice))
    scales = _scales(data.units)
    found = []
    for j, (side, parent) in enumerate(zip(choice.sides, model.parents, strict=True)):
        reach, whole = float(share[..., j].max()), complete(share[..., j])
        # With the least strain that agrees with the tests, the share would reach 1 at their end.
        # What the model has beyond it is arbitrary.
        least = {} if whole else {"strain": reach, "A": reach**2, "k": reach}
        unseen = () if whole else ("strain", "A", "k", "end", "back_start")
        told = {}
        for name in ("strain", "A", "k", "start", "end", "back_start", "back_end"):
            value = float(getattr(values, name)[j]) * scales[name] * least.get(name, 1.0)
            error = float(getattr(errors, name)[j]) * scales[name]
            told[name] = Estimate(
                value,
                math.inf if name in unseen or math.isnan(value) else error,
                value if name in least else math.nan,
            )
        told["mixing"], told["threshold"] = told.pop("A"), told.pop("k")
        found.append(Transition(j + 1, parent, side, **told, reach=reach, complete=whole))
    return tuple(found)


def _scales(units: Units) -> dict[str, float]:
    """The unit of each mark, in the user's."""
    return {
        "strain": units.strain,
        "A": units.energy,
        "k": units.energy,
        **dict.fromkeys(("start", "end", "back_start", "back_end"), units.stress),
    }
