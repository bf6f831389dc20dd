r"""Sequential Monte Carlo: draws of a law r are carried to a posterior p in stages.

.. math:: p_b(x) \propto r(x)^{1-b} \, p(x)^b, \qquad b = 0 \to 1

(Del Moral, Doucet & Jasra 2006.) Each stage takes the largest step of b that leaves an effective
sample size of a given share of the draws, resamples them, and moves the copies apart. The product
of the stages' mean weights estimates the evidence. Several islands of draws do so independently.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from lse_vi.progress.bars import Bar
from lse_vi.random.draws import rand

# What is known of each draw by name, with the draws along the first axis, those of an island side
# by side. ``log_ratio`` is log p - log r, in nats.
Population = dict[str, Tensor]
# (population, b of each draw (n,), whether this is the last stage) -> the population moved
Move = Callable[[Population, Tensor, bool], Population]


class Notes(Protocol):
    """Where a run keeps how far it is, to go on from there after an interruption."""

    def note(self, state: dict[str, Any]) -> None:
        """Keep ``state``, of tensors and numbers, in place of the last one."""
        ...

    def noted(self) -> dict[str, Any] | None:
        """The last state, tensors on the CPU, None without one; random numbers go on from it."""
        ...


class WithMoves:
    """Notes of a run together with what its moves have adapted, such as the sizes of their steps.

    Args:
        notes: where both are kept.
        moves: the moves.
        names: of their attributes, tensors or numbers, that change as the run goes on.
    """

    def __init__(self, notes: Notes, moves: Any, *names: str) -> None:
        self.notes, self.moves, self.names = notes, moves, names

    def note(self, state: dict[str, Any]) -> None:
        """Keep ``state`` and the attributes."""
        own = {name: getattr(self.moves, name) for name in self.names}
        self.notes.note({"run": state, "moves": own})

    def noted(self) -> dict[str, Any] | None:
        """The last state; the moves go on with the attributes that they had."""
        if (known := self.notes.noted()) is None:
            return None
        for name, value in known["moves"].items():
            now = getattr(self.moves, name)
            setattr(self.moves, name, value.to(now) if isinstance(now, Tensor) else value)
        run: dict[str, Any] = known["run"]
        return run


# Effective sample size after each stage, as a share of the draws. A smaller share saves stages,
# but leaves more copies of the same draws.
KEPT = 0.7
BISECTIONS = 30  # halvings in the search for a step: it is then exact to 1e-9 of the range


class Tempered(NamedTuple):
    """Draws of the posterior, and the evidence.

    Attributes:
        population: equally weighted draws.
        log_evidence: of each island, in nats, (islands,).
        variance: of each log evidence, estimated from the draws of that island, (islands,).
        stages: the largest number of stages of an island.
    """

    population: Population
    log_evidence: Tensor
    variance: Tensor
    stages: int


@torch.no_grad()
def temper(
    population: Population,
    move: Move,
    *,
    islands: int = 1,
    kept: float = KEPT,
    progress: bool = False,
    steady: bool = True,
    strata: Tensor | None = None,
    notes: Notes | None = None,
) -> Tempered:
    """Carry a population of r to p.

    The variance of the evidence follows from the mass that descends from each first draw, before
    the last resampling, which the evidence does not feel (Lee & Whiteley 2018, for resampling that
    adds no noise of its own).

    Args:
        population: draws of r; as many for each island.
        move: leaves p_b invariant, and keeps all entries of the population up to date.
        islands: number of independent populations.
        kept: effective sample size after each stage, as a share of the draws.
        progress: show a bar with b.
        steady: b rises by like steps, so that a hidden bar can tell how long the rest takes.
        strata: (draws,), of the first draws, if each stratum has as many as its share of r: what
            the strata differ by is then no error of the evidence.
        notes: kept after each stage, so that an interrupted run goes on from it.

    Example:
        >>> x = torch.randn(1000, dtype=torch.float64)  # r = N(0, 1), and p = 2 r
        >>> log_ratio = torch.full_like(x, math.log(2.0))
        >>> end = temper({"x": x, "log_ratio": log_ratio}, lambda population, b, last: population)
        >>> end.stages, round(float(end.log_evidence), 6)
        (1, 0.693147)
    """
    log_ratio = population["log_ratio"].reshape(islands, -1)
    n, stages = log_ratio.shape[1], 0
    origin = torch.arange(n).to(log_ratio.device).expand(islands, n)
    first = torch.arange(islands).to(origin).unsqueeze(1) * n  # the first draw of each island
    power, log_evidence = log_ratio.new_zeros(islands), log_ratio.new_zeros(islands)
    heirs = torch.ones_like(log_ratio)  # the mass that descends from each first draw, of mean one
    if notes and (known := notes.noted()):
        there = {name: part.to(log_ratio.device) for name, part in known["tensors"].items()}
        origin, power, heirs = there["origin"], there["power"], there["heirs"]
        log_evidence, stages = there["log_evidence"], known["stages"]
        population = {name: part.to(log_ratio.device) for name, part in known["draws"].items()}
        log_ratio = population["log_ratio"].reshape(islands, n)
    bar = Bar(total=100 if progress or steady else None, desc="tempering", disable=not progress)
    while bool((power < 1).any()):
        step = _next_step(log_ratio, 1 - power, kept)
        log_w = step.unsqueeze(1) * log_ratio
        log_evidence = log_evidence + log_w.logsumexp(1) - math.log(n)
        moving, weights = power < 1, torch.softmax(log_w, 1)
        mass = torch.zeros_like(heirs).scatter_add(1, origin, n * weights)
        heirs = torch.where(moving.unsqueeze(1), mass, heirs)
        power, stages = (power + step).clamp_max(1.0), stages + 1
        rows = torch.stack([stratified(w, n) for w in weights])
        rows = torch.where(moving.unsqueeze(1), rows, torch.arange(n).to(rows))
        origin = origin.gather(1, rows)
        population = {name: part[(rows + first).flatten()] for name, part in population.items()}
        last = bool((power == 1).all())
        population = move(population, power.repeat_interleave(n), last)
        log_ratio = population["log_ratio"].reshape(islands, n)
        bar.update(round(100 * float(power.amin())) - bar.n)
        if notes:
            tensors = {"origin": origin, "power": power, "heirs": heirs}
            tensors["log_evidence"] = log_evidence
            notes.note({"draws": population, "tensors": tensors, "stages": stages})
    bar.close()
    strata = torch.zeros_like(origin) if strata is None else strata.reshape(islands, n)
    variance = torch.stack([_within(*each) for each in zip(heirs, strata, strict=True)]) / n
    return Tempered(population, log_evidence, variance, stages)


def _within(value: Tensor, strata: Tensor) -> Tensor:
    """The variance of ``value`` (n,) within strata (n,), their mean by size.

    A stratum of one draw tells nothing of its variance: all of these are taken as one stratum.
    """
    size = strata.bincount()
    label = torch.where(size[strata] > 1, strata, len(size))
    size = label.bincount(minlength=len(size) + 1)
    zero = value.new_zeros(len(size))
    mean = zero.index_add(0, label, value) / size.clamp_min(1)
    square = zero.index_add(0, label, (value - mean[label]).square())
    return (size * square / (size - 1).clamp_min(1)).sum() / len(value)


def stratified(shares: Tensor, n: int) -> Tensor:
    """``n`` indices in proportion to ``shares`` (k,), each as often as it should be up to one.

    Systematic resampling: it adds less noise than independent draws (Douc, Cappé & Moulines 2005).
    """
    edges = shares.double().cumsum(0)
    ticks = (torch.arange(n) + rand()).to(edges) / n
    return torch.searchsorted(edges, ticks * edges[-1]).clamp_max(len(shares) - 1)


def _next_step(log_ratio: Tensor, most: Tensor, least: float = KEPT) -> Tensor:
    """The largest steps of b, up to ``most``, that leave an effective share ``least`` of the draws.

    Draws with a log ratio of minus infinity are lost at any step. If they are more than
    1 - ``least`` of all, no step leaves that; the smallest is taken, and resampling drops them.

    Args:
        log_ratio: (islands, n).
        most: (islands,).
        least: between 0 and 1.
    """

    def kept(step: Tensor) -> Tensor:
        """Effective sample size after ``step``, as a share of the draws, (islands,)."""
        weights = torch.softmax(step.unsqueeze(1) * log_ratio, 1)
        return 1 / (log_ratio.shape[1] * weights.square().sum(1))

    whole = kept(most) >= least
    low, high = torch.zeros_like(most), most
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        good = kept(middle) >= least
        low, high = torch.where(good, middle, low), torch.where(good, high, middle)
    return torch.where(whole, most, torch.where(low > 0, low, high))
