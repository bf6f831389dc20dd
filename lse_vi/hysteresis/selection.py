"""How many phases: transitions are added one at a time, as long as held-out rows gain by them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.hysteresis.data import Data
from lse_vi.hysteresis.elements import Element, build
from lse_vi.hysteresis.loops import alone, together
from lse_vi.hysteresis.marks import elements_of
from lse_vi.hysteresis.starts import candidates, share_of
from lse_vi.hysteresis.training import Errors, train, vector
from lse_vi.materials.elastic import Elastic
from lse_vi.materials.play import Play

SEARCH_ROWS = 1500  # of all tests together, among which transitions are looked for
STARTS, AGAIN_STARTS = 5, 3  # candidates that are tried, for a new transition and for an old one
SHORT, LONG, AGAIN = 12, 60, 15  # steps for each of them, for the best one, and for each fold
# Relative fall of the cost at which a search ends that only compares: of candidates, and of folds.
ROUGH, CLOSE = 1e-3, 1e-6
EXACT = 1e-7  # error, as a share of the stress, below which nothing is left to explain
# A transition must lower the held-out squared error by this many standard errors of the fall, and
# by this share: noise does so once in forty, and strain that is noisy itself rounds corners, which
# one more phase mends by 1 to 3 %. A share below it is an effect of a sixth of the noise.
SURE, WORTH = 2.0, 0.03
SWEEPS = 3  # in which every transition is looked for again beside the others
# Nothing is left to explain if the error is less than NOISE times the scatter, and less than WHITE
# rows err together: of noise, 1.0 to 1.1 do.
NOISE, WHITE = 1.05, 1.2
# Share that has to be left of a transition that no test completes: more than it has gone through is
# not seen, and the middle of its range is as good a place for what was seen as any.
HALF = 0.5
# Largest share of rows that can be outliers: a model that is far off has more of them.
MOST_ALONE = 0.1
# The end of a transition counts as seen if without it the squared error rises by so many variances
# of a row that errs alone: 3.2 standard errors.
DOUBT = 10.0
EXACT = 1e-9  # error of a fit, as a share of the stress, below which it is rounding
COMPLETE_ROWS = 5  # with the whole share, at least: fewer may be the end of a transition by chance


@dataclass(frozen=True)
class Choice:
    """A fitted model.

    Attributes:
        model: an :class:`~lse_vi.Elastic` or a :class:`~lse_vi.Play`.
        sides: of its transitions.
        data: what it was fitted to: rows that stand alone have no weight.
        error, held_out: model minus data where the row was fitted, and where it was not, in units
            of the model, (times, tests).
    """

    model: Elastic
    sides: tuple[int, ...]
    data: Data
    error: Tensor
    held_out: Tensor

    @property
    def together(self) -> float:
        """How many rows err together, on average over the tests: 1 for noise."""
        errors, weights = self.error, self.data.weight
        each = [errors[:n, i][weights[:n, i] > 0] for i, n in enumerate(self.data.rows)]
        return sum(together(e.numpy()) * len(e) for e in each) / sum(map(len, each))

    def mean_square(self, errors: Tensor) -> float:
        """The mean over the rows that count."""
        return float((self.data.weight * errors.square()).sum() / self.data.weight.sum())


Progress = Callable[[Choice], None]


def choose(data: Data, modes: int, noise: float, progress: Progress) -> list[Choice]:
    """Fits with one phase, two, and so on; the last one is the best, or has ``modes`` phases.

    Args:
        data: the tests.
        modes: the largest number of phases.
        noise: scatter of single rows of stress, in units of the model.
        progress: called with each fit that is kept.
    """
    tried = [_elastic(data)]
    progress(tried[-1])
    while len(tried) < modes and not _explained(tried[-1], noise):
        more = _one_more(data, tried[-1])
        if more is None or not gains(tried[-1], more):
            break
        tried.append(more)
        progress(more)
    while len(tried[-1].sides) > 1:
        fewer = _one_less(data, tried[-1])
        if fewer is None or gains(fewer, tried[-1]):
            break
        tried.append(fewer)
    sure = _doubted(tried[-1])
    return tried if sure is None else [*tried[:-1], sure]


def _explained(choice: Choice, noise: float) -> bool:
    """Whether the error is rounding, or no larger than the scatter and without any order in it."""
    error = math.sqrt(choice.mean_square(choice.error))
    return error < EXACT or (error < NOISE * noise and choice.together < WHITE)


def gains(few: Choice, more: Choice) -> bool:
    """Whether ``more`` predicts held-out rows better than ``few``, beyond chance.

    Rows of one branch of a loop err together, so the branches are what is counted.
    """
    weight = few.data.weight * more.data.weight
    fall = weight * (few.held_out.square() - more.held_out.square())
    branches = []
    for i, loops in enumerate(few.data.turns):
        ends = sorted({0, len(fall), *(row for loop in loops for row in loop)})
        branches += [float(fall[a:b, i].sum()) for a, b in pairwise(ends)]
    each = torch.tensor(branches, dtype=torch.float64)
    total, error = float(each.sum()), math.sqrt(len(each)) * float(each.std())
    before = float((weight * few.held_out.square()).sum())
    return total > WORTH * before and total > SURE * error


def finish(model: Elastic, sides: tuple[int, ...], data: Data, prior: float = 0.0) -> Choice:
    """Polish a model, set rows aside that stand alone, and hold each fold out once."""
    train(model, data, steps=AGAIN, settled=CLOSE, robust=True, prior=prior)
    error = _errors(model, data)
    out = torch.zeros_like(data.weight, dtype=torch.bool)
    for i in range(len(data.rows)):
        largest = float(data.column(data.stress, i).max())
        out[: data.rows[i], i] = torch.as_tensor(alone(data.column(error, i), abs(largest)))
    many = int((out & (data.weight > 0)).sum()) > MOST_ALONE * data.count
    kept = data if many else data.without(out)
    train(model, kept, steps=LONG, prior=prior)
    error = _errors(model, data)
    held_out = error.clone()
    for fold in kept.split():
        other = copy.deepcopy(model)
        train(other, kept.without(fold), steps=AGAIN, settled=CLOSE, prior=prior)
        held_out[fold] = _errors(other, kept)[fold]
    return Choice(model, sides, kept, error, held_out)


def _errors(model: Elastic, data: Data) -> Tensor:
    """Model minus data, (times, tests)."""
    return Errors(model, data)(vector(model)).reshape(data.strain.shape)


def _elastic(data: Data) -> Choice:
    """One phase: a line."""
    base, _ = _jumps(data, [])
    return finish(*build(base, [], data.units), data)


def _one_more(data: Data, few: Choice) -> Choice | None:
    """The best model with one transition more than ``few``, or None."""
    known = elements_of(few.model, few.sides) if isinstance(few.model, Play) else []
    known = [t for t in known if _finite(t)]
    small = few.data.thinned(SEARCH_ROWS)
    while len(known) < len(few.sides):
        # One that stands for two, in tension and compression, may begin nowhere: begin without it.
        new = candidates(small.strain, small.stress, small.weight, _columns(small, known), 1)
        if not new:
            return None
        known += new
    best = _best_with(small, known, STARTS)
    if best is None:
        return None
    best = _settled(small, best) if known else best
    return finish(*centred(best.model, best.sides, data), data)


def _settled(data: Data, best: _Start) -> _Start:
    """The model after its transitions were looked for again: one may have stood for two."""
    for _ in range(SWEEPS):
        before = best.cost
        for j in range(len(best.sides)):
            elements = elements_of(best.model, best.sides)
            again = _best_with(data, elements[:j] + elements[j + 1 :], AGAIN_STARTS)
            if again is not None and again.cost < best.cost:
                best = again
        if best.cost > (1 - ROUGH) * before:
            break
    return best


def _one_less(data: Data, more: Choice) -> Choice | None:
    """The best model without one of the transitions of ``more``: a later one may stand for it."""
    small = data.thinned(SEARCH_ROWS)
    elements = elements_of(more.model, more.sides) if isinstance(more.model, Play) else []
    best: _Start | None = None
    for j in range(len(elements)):
        kept = elements[:j] + elements[j + 1 :]
        if all(_finite(t) for t in kept):
            best = _cheaper(best, _started(small, kept))
    if best is None:
        return None
    best = _settled(small, best)
    return finish(*centred(best.model, best.sides, data), data)


class _Start(NamedTuple):
    """A model after its first steps, and its cost."""

    model: Play
    sides: tuple[int, ...]
    cost: float


def _best_with(data: Data, known: list[Element], most: int) -> _Start | None:
    """The best of ``most`` models with one transition besides those ``known``."""
    if not all(_finite(t) for t in known):
        return None
    best = None
    columns = _columns(data, known)
    for new in candidates(data.strain, data.stress, data.weight, columns, most):
        best = _cheaper(best, _started(data, [*known, new]))
    return best


def _started(data: Data, elements: list[Element]) -> _Start:
    """The model of some transitions after a few steps."""
    model, sides = build(*_jumps(data, elements), data.units)
    assert isinstance(model, Play)
    return _Start(model, sides, train(model, data, steps=SHORT, settled=ROUGH).cost)


def _cheaper(one: _Start | None, other: _Start) -> _Start | None:
    """The one of lower cost; a cost that is not finite is none."""
    if not math.isfinite(other.cost):
        return one
    return other if one is None or other.cost < one.cost else one


def _finite(t: Element) -> bool:
    """Whether all marks of a transition are where they can be found."""
    return all(math.isfinite(v) for v in (t.start, t.width, t.lag, *t.jump))


def centred(model: Elastic, sides: tuple[int, ...], data: Data) -> tuple[Elastic, tuple[int, ...]]:
    """The same stresses from a model in which no transition that stays incomplete nears its end.

    Where no test reaches the end of a transition, stresses tell the products of the share with the
    jumps, not the share: h -> c h, A -> A / c^2, k -> k / c leaves them as they are.
    """
    if not isinstance(model, Play):
        return model, sides
    state = model.march(data.prepared(model)).detach()
    elements = elements_of(model, sides)
    changed = False
    for j, (t, most) in enumerate(zip(elements, state.amax((0, 1)).tolist(), strict=True)):
        if not complete(state[..., j]) and most > 0 and abs(most - HALF) > 0.01:
            factor = most / HALF
            jump = (t.jump[0] * factor, t.jump[1] * factor)
            elements[j] = t._replace(width=t.width * factor, jump=jump)
            changed = True
    if not changed or not all(_finite(t) for t in elements):
        return model, sides
    base = _jumps(data, elements)[0]
    return build(base, elements, data.units)


def _doubted(choice: Choice) -> Choice | None:
    """The same fit with transitions left open that only seem complete; None if none is.

    The end of a transition must be seen: if one of twice the width explains the tests as well, they
    end before it does.
    """
    model, data = choice.model, choice.data
    if not isinstance(model, Play):
        return None
    share = model.march(data.prepared(model)).detach()
    sides, cost = choice.sides, choice.mean_square(choice.error) * float(data.weight.sum())
    opened = None
    for j in range(len(sides)):
        elements = elements_of(model, sides)
        if not complete(share[..., j]) or not all(_finite(t) for t in elements):
            continue
        t = elements[j]
        wide = t._replace(width=t.width / HALF, jump=(t.jump[0] / HALF, t.jump[1] / HALF))
        trial, order = build(_jumps(data, elements)[0], _with(elements, j, wide), data.units)
        tried = train(trial, data, steps=AGAIN, settled=CLOSE).cost
        assert isinstance(trial, Play)
        # Two fits to rounding are equal, whatever is left of them.
        rounding = EXACT**2 * float((data.weight * data.stress.square()).sum())
        bound = cost * (1 + DOUBT * choice.together / data.count) + rounding
        if order == sides and tried < bound:
            opened = model = trial
    return None if opened is None else finish(opened, sides, data)


def _with(elements: list[Element], place: int, element: Element) -> list[Element]:
    """``elements`` with another one at ``place``."""
    return [*elements[:place], element, *elements[place + 1 :]]


def complete(share: Tensor) -> bool:
    """Whether a share, (times, tests), reaches its end on more than a few rows."""
    return int((share >= 1.0 - 1e-9).sum()) >= COMPLETE_ROWS


def _columns(data: Data, elements: list[Element]) -> Tensor:
    """1, e, and h and h e of each transition: (columns, times, tests)."""
    columns = [torch.ones_like(data.strain), data.strain]
    for t in elements:
        parts = (torch.tensor([v], dtype=torch.float64) for v in (t.start, t.width, t.lag))
        share = share_of(data.strain, t.side, *parts)[..., 0]
        columns += [share, data.strain * share]
    return torch.stack(columns)


def _jumps(data: Data, elements: list[Element]) -> tuple[tuple[float, float], list[Element]]:
    """The line of the first phase, and the transitions, with the jumps that fit best.

    Jumps that would make a transition run backwards keep the value that they have.
    """
    columns = _columns(data, elements).flatten(1)
    root = data.weight.flatten().sqrt()
    matrix, target = (root * columns).mT, root * data.stress.flatten()
    best = torch.linalg.lstsq(matrix, target.unsqueeze(-1), driver="gelsd").solution.flatten()
    best = best.tolist()
    fitted = []
    for j, t in enumerate(elements):
        jump = (best[2 * j + 2], best[2 * j + 3])
        new = t._replace(jump=jump)
        ends = (t.start - t.lag, t.start + t.width)
        runs = all(-t.side * (jump[0] + jump[1] * t.side * x) > 0 for x in ends)
        fitted.append(new if runs else t)
    return (best[0], max(best[1], 1e-3)), fitted
