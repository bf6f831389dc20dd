"""The search for the number of modes: fits with 1, 2, ... modes in turn, and the best is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lse_vi.fitting.best_state import State, replace_where, snapshot
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.history import History, join
from lse_vi.fitting.random_state import random_state, set_random_state
from lse_vi.network.gates import CLOSED
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.weighted import mean_and_error

# Numbers of modes in a row without gain that end a search: two modes may be no better than one
# where four modes are.
IDLE_NUMBERS = 3
# A candidate may still become the best if it is behind by at most this many times the largest gain
# of others by L-BFGS: a gain may be half as large again as others.
HOPE = 1.5
# Standard errors by which a gain on held-out points must differ from zero to overrule the penalty:
# chance alone does so in 0.6 % of cases.
CLEAR = 2.5
# The same for a loss on held-out points, to overrule a finished fit: it costs little where it is
# chance alone, and spares few points walls in their noise.
DOUBT = 1.0
# Held-out points that can overrule the penalty, at least: of fewer the error of a mean is not known
# well, as log densities have long tails.
ENOUGH = 50


@dataclass(frozen=True)
class Finish:
    """How far L-BFGS has improved a candidate.

    Attributes:
        gain: gain of the objective by the first steps of L-BFGS, (*batch,); None before them.
        left: number of steps that may still improve it.
        ahead: the gain of the objective that is expected of these steps, (*batch,).
        merged: whether a start with one mode less was made from it, by a merger of two modes.
        converged: whether it was improved until nothing was left to gain.
    """

    gain: Tensor | None = None
    left: int = 0
    ahead: Tensor | float = 0.0
    merged: bool = False
    converged: bool = False


@dataclass(frozen=True)
class Candidate:
    """The best restart for each data set, with one number of modes.

    Attributes:
        modes: the number of modes.
        state: the parameters.
        objective: before the penalty for modes, (*batch,); larger is better.
        history: of the training.
        losses: of held-out points, (n, *batch), NaN where a data set has fewer than another; None
            where they were not computed.
        finish: how far L-BFGS has improved it.
        early: state and losses before L-BFGS, which may explain held-out points better; or None.
    """

    modes: int
    state: State
    objective: Tensor
    history: History
    losses: Tensor | None = None
    finish: Finish = Finish()
    early: tuple[State, Tensor] | None = None

    @property
    def expected(self) -> Tensor:
        """The objective expected after the steps that are left, (*batch,)."""
        return self.objective + self.finish.ahead

    @property
    def chosen(self) -> State:
        """The state, or the early one where held-out points speak for it.

        They choose between these two only, once the fit is finished: states on the way differ by
        rounding.
        """
        if self.early is None or self.losses is None or not len(self.losses):
            return self.state
        state, losses = self.early
        mean, error = mean_and_error(self.losses - losses)
        return replace_where(mean > DOUBT * error, state, self.state)

    def as_dict(self) -> dict[str, Any]:
        """The candidate as plain dictionaries, for a checkpoint."""
        return {**vars(self), "finish": vars(self.finish)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Candidate:
        """The candidate that :meth:`as_dict` described."""
        return cls(**{**saved, "finish": Finish(**saved["finish"])})


class ModeSearch:
    """The candidates with 1, 2, ... modes so far, and the run that fits the next one.

    Use it in the loop over numbers of modes: it decides which candidate is trained next, and keeps
    the checkpoint.

    Args:
        file: read when the search is made, written when a candidate is added or a run is saved.
        penalty: what a mode costs, in units of the objective; a number or (*batch,).
        device: of the fit; a checkpoint holds the state of its random generators.
        tie: candidates that differ by less than this, in units of the objective, are equally good,
            and fewer modes win: what an optimiser leaves to gain is chance.

    Raises:
        ValueError: if the file is corrupt or belongs to another fit.
    """

    def __init__(
        self, file: Checkpoint, penalty: float | Tensor, device: torch.device, *, tie: float = 0.0
    ) -> None:
        self.file, self.penalty, self.device, self.tie = file, penalty, device, tie
        saved = file.load()
        self.done = [Candidate.from_dict(entry) for entry in saved["done"]] if saved else []
        self.run: dict[str, Any] | None = saved["run"] if saved else None
        self.rng: list[Tensor] = saved["rng"] if saved else random_state(device)
        self.restore_random_state()

    def restore_random_state(self) -> None:
        """Restore the random state of the checkpoint, or that of the start if there is none."""
        set_random_state(self.rng, self.device)

    def save(self, run: dict[str, Any] | None) -> None:
        """Write the candidates and the state of the current ``run`` to the checkpoint."""
        done = [candidate.as_dict() for candidate in self.done]
        self.file.save({"done": done, "run": run, "rng": random_state(self.device)})

    def add(self, candidate: Candidate) -> None:
        """Keep a candidate whose run is over."""
        self.done.append(candidate)
        self.run = None
        self.save(None)

    def replace(self, candidate: Candidate) -> None:
        """Replace the candidate with as many modes by ``candidate``."""
        self.done[candidate.modes - 1] = candidate
        self.save(None)

    def improve(self, candidate: Candidate) -> None:
        """As :meth:`replace`, only for the data sets for which ``candidate`` is better.

        Of two that tie, the better one is that which explains points held out better.
        """
        old, new = self.done[candidate.modes - 1], candidate
        lead = new.expected - old.expected
        better = lead > self.tie
        if old.losses is not None and new.losses is not None and len(new.losses):
            lower = mean_and_error(new.losses)[0] < mean_and_error(old.losses)[0]
            better |= (lead >= -self.tie) & lower
        most = max(new.finish.left, old.finish.left)
        if bool(better.any()):
            self.done[old.modes - 1] = replace(
                new,
                state=replace_where(better, new.state, old.state),
                objective=torch.where(better, new.objective, old.objective),
                history=old.history,
                losses=_where(better, new.losses, old.losses),
                finish=replace(
                    new.finish,
                    left=new.finish.left if bool(better.all()) else most,
                    ahead=torch.where(better, new.finish.ahead, old.finish.ahead),
                ),
            )
        self.run = None
        self.save(None)

    def undecided(self, candidate: Candidate) -> bool:
        """Whether ``candidate``, with steps left, only promises to be better than its rival."""
        rival = self.done[candidate.modes - 1]
        promises = candidate.expected > rival.expected + self.tie
        shown = candidate.objective > rival.expected + self.tie
        return bool(candidate.finish.left) and bool((promises & ~shown).any())

    def best(self) -> Tensor:
        """Index of the best candidate for each data set, (*batch,): of those that tie, the first.

        It has the largest penalised objective, unless held-out points have a clearly lower loss
        with more modes: with many parameters for few points, the penalty of BIC is too large.
        """
        return self._best(self.tie)

    def _best(self, tie: float) -> Tensor:
        worth = self._worth()
        best = (worth >= worth.amax(0) - tie).int().argmax(0)  # the first
        for k, candidate in enumerate(self.done):
            best = torch.where((k > best) & self._clearly_above(candidate, best), k, best)
        return best

    def promising(self) -> Candidate | None:
        """The most promising candidate without L-BFGS steps, or None.

        It is or may become the best for a data set: its penalised objective would be the largest
        after a gain of HOPE times the largest gain of other candidates.
        """
        worth = self._worth()  # (candidates, *batch)
        gains = [c.finish.gain for c in self.done if c.finish.gain is not None]
        most = torch.stack(gains).amax(0) if gains else torch.full_like(worth[0], torch.inf)
        best, leading = self.best(), worth.amax(0)
        for k in worth.reshape(len(worth), -1).sum(-1).argsort(descending=True).tolist():
            candidate = self.done[k]
            level = worth[k] + HOPE * most >= leading
            if candidate.finish.gain is None and bool((level | (best == k)).any()):
                return candidate
        return None

    def mergeable(self) -> Candidate | None:
        """A candidate of which two modes may be merged without loss, or None; most modes first.

        For some data set it has no more modes than the best candidate, and is behind it by at most
        the penalty of one mode: a merger that is worse may itself lead to a better one.
        """
        worth, best = self._worth(), self._best(tie=0.0)
        behind = torch.take_along_dim(worth, best[None], 0) - worth
        for k in range(int(best.max()), 0, -1):
            candidate = self.done[k]
            close = (k <= best) & (behind[k] <= self.penalty)
            finish = candidate.finish
            if finish.gain is not None and not finish.merged and bool(close.any()):
                return candidate
        return None

    def merge(self, candidate: Candidate, state: State, left: int) -> Candidate:
        """A new candidate with a mode less than ``candidate``, from its merged ``state``."""
        # The mark is not saved here: a fit that is interrupted during the merger repeats it.
        finish = replace(candidate.finish, merged=True)
        self.done[candidate.modes - 1] = replace(candidate, finish=finish)
        rival = self.done[candidate.modes - 2]
        nothing = torch.full_like(rival.objective, -torch.inf)
        begun = Finish(gain=candidate.finish.gain, left=left)
        early = rival.early
        return Candidate(rival.modes, state, nothing, rival.history, finish=begun, early=early)

    def unfinished(self) -> Candidate | None:
        """A candidate with steps left that is or may become the best for a data set, or None.

        A choice between fits that are finished to different depths would be made by chance. So all
        go on that would be level if they gained twice what is expected.
        """
        best = self.best()
        for k, candidate in enumerate(self.done):
            finish = candidate.finish
            mine = self._level(candidate) | (best == k)
            if finish.left and finish.gain is not None and bool(mine.any()):
                return candidate
        return None

    def settled(self, candidate: Candidate) -> bool:
        """Whether ``candidate`` is the best for all data sets, and no other may draw level."""
        others = [other for other in self.done if other is not candidate]
        alone = self.best() == candidate.modes - 1
        return bool(alone.all()) and not any(bool(self._level(other).any()) for other in others)

    def _level(self, candidate: Candidate) -> Tensor:
        """Whether it would be level with the leader if it gained twice what is expected."""
        worth = self._worth()
        return worth[candidate.modes - 1] + candidate.finish.ahead + self.tie >= worth.amax(0)

    def winner(self) -> Candidate | None:
        """A candidate that is the best for a data set and has not converged, or None."""
        best = set(self.best().flatten().tolist())
        return next((self.done[k] for k in best if not self.done[k].finish.converged), None)

    def goal(self, candidate: Candidate) -> Tensor:
        """The objective that would make ``candidate`` as good as the best of the others.

        One that points held out prefer already is asked for nothing more than it has.
        """
        others, rank = self._worth(), candidate.modes - 1
        others[rank] = -torch.inf
        goal = others.amax(0) + self.penalty * candidate.modes - self.tie
        preferred = (self.best() == rank) & (self.done[rank] is candidate)
        return torch.where(preferred, torch.minimum(goal, candidate.objective), goal)

    @property
    def stalled(self) -> bool:
        """Whether further modes are not tried: the last few helped no data set, or L-BFGS began."""
        if any(c.finish.gain is not None for c in self.done):
            return True  # so that a resumed fit does not add modes either
        return len(self.done) > IDLE_NUMBERS and bool(
            (self.best() < len(self.done) - IDLE_NUMBERS).all()
        )

    def assemble(self, template: LSEICNN) -> LSEICNN:
        """The best candidates as one batch like ``template``; gates of spare modes are closed.

        A spare mode is the first one again: so it is below that, and out of sight, everywhere.
        """
        best = self.best()
        most = int(best.max()) + 1
        pot = template.resized(most, best.shape)
        state = snapshot(pot)
        state["alpha"].fill_(CLOSED)
        for candidate in self.done[:most]:
            mine = best == candidate.modes - 1
            for name, p in candidate.chosen.items():
                if name.startswith("units."):  # none, during a fit
                    continue
                own = state[name]
                if name != "log_rho":
                    own, spare = own.split([candidate.modes, most - candidate.modes], best.dim())
                    if name != "alpha":
                        spare[mine] = p[mine].narrow(1, 0, 1).to(own)
                own[mine] = p[mine].to(own)
        pot.load_state_dict(state)
        return pot

    @property
    def history(self) -> History:
        """Of all candidates; those kept come last, so that it ends where the fit did."""
        kept = {k + 1 for k in self.best().flatten().tolist()}
        return join([c.history for c in sorted(self.done, key=lambda c: c.modes in kept)])

    def _worth(self) -> Tensor:
        """Penalised objectives, (candidates, *batch)."""
        return torch.stack([c.expected - self.penalty * c.modes for c in self.done])

    def _clearly_above(self, candidate: Candidate, best: Tensor) -> Tensor:
        """Whether held-out points clearly favour ``candidate`` over the ``best`` one, (*batch,)."""
        losses = candidate.losses
        if losses is None or not len(losses):
            return torch.zeros_like(best, dtype=torch.bool)
        others = torch.stack([c.losses for c in self.done if c.losses is not None])
        return is_clear(torch.take_along_dim(others, best[None, None], 0).squeeze(0) - losses)


def is_clear(gain: Tensor) -> Tensor:
    """Whether the gains of enough points held out, (n, *batch), speak for one, (*batch,)."""
    mean, error = mean_and_error(gain, correction=1)
    return (mean > CLEAR * error) & ((~gain.isnan()).sum(0) >= ENOUGH)


def _where(mask: Tensor, new: Tensor | None, old: Tensor | None) -> Tensor | None:
    """``new`` where ``mask`` holds, else ``old``; None if one of them is None."""
    return None if new is None or old is None else torch.where(mask, new, old)
