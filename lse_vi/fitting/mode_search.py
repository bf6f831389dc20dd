"""The search for the number of modes: 1, 2, ... are fitted in turn, and the best is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lse_vi.fitting.best_state import State, replace_where, snapshot
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.history import History
from lse_vi.fitting.random_state import random_state, set_random_state
from lse_vi.network.gates import CLOSED
from lse_vi.network.potential import LSEICNN

IDLE_NUMBERS = 3  # of modes without gain end a search: four modes may look like one, not two
HOPE = 1.5  # times what others gained by L-BFGS: who is no farther behind may still win
CLEAR = 2.5  # standard errors by which points held out may overrule the penalty


@dataclass(frozen=True)
class Finish:
    """How far L-BFGS has taken a candidate.

    Attributes:
        gain: of the objective by its first steps, (*batch,); None before them.
        left: steps that may still help.
        ahead: what these may bring the objective, (*batch,).
        merged: whether two of its modes were made one, as a start with a mode less.
    """

    gain: Tensor | None = None
    left: int = 0
    ahead: Tensor | float = 0.0
    merged: bool = False


@dataclass(frozen=True)
class Candidate:
    """The best restart for each data set, with one number of modes.

    Attributes:
        modes: their number.
        state: the parameters.
        objective: by which the number of modes is judged, (*batch,).
        history: of the training.
        losses: of the points held out, (n, *batch); None where not looked at.
        finish: what L-BFGS has made of it.
    """

    modes: int
    state: State
    objective: Tensor
    history: History
    losses: Tensor | None = None
    finish: Finish = Finish()

    @property
    def expected(self) -> Tensor:
        """The objective once no steps are left, (*batch,)."""
        return self.objective + self.finish.ahead

    def as_dict(self) -> dict[str, Any]:
        """All of it, as a checkpoint holds it."""
        return {**vars(self), "finish": vars(self.finish)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Candidate:
        """Undo :meth:`as_dict`."""
        return cls(**{**saved, "finish": Finish(**saved["finish"])})


class ModeSearch:
    """The candidates with 1, 2, ... modes so far and the run of the next, as a checkpoint has them.

    Args:
        file: read when the search is made, written when a candidate is added or a run is saved.
        penalty: what a mode costs, in units of the objective.
        device: of the fit, whose random state a checkpoint holds.
    """

    def __init__(self, file: Checkpoint, penalty: float, device: torch.device) -> None:
        self.file, self.penalty, self.device = file, penalty, device
        saved = file.load()
        self.done = [Candidate.from_dict(entry) for entry in saved["done"]] if saved else []
        self.run: dict[str, Any] | None = saved["run"] if saved else None
        self.rng: list[Tensor] = saved["rng"] if saved else random_state(device)
        self.restore_random_state()

    def restore_random_state(self) -> None:
        """Go on from the random state that the checkpoint was written in."""
        set_random_state(self.rng, self.device)

    def save(self, run: dict[str, Any] | None) -> None:
        """Write the candidates, and the state of the run that makes the next."""
        done = [candidate.as_dict() for candidate in self.done]
        self.file.save({"done": done, "run": run, "rng": random_state(self.device)})

    def add(self, candidate: Candidate) -> None:
        """Keep a candidate whose run is over."""
        self.done.append(candidate)
        self.run = None
        self.save(None)

    def replace(self, candidate: Candidate) -> None:
        """Put ``candidate`` in the place of the one with as many modes."""
        self.done[candidate.modes - 1] = candidate
        self.save(None)

    def improve(self, candidate: Candidate) -> None:
        """Put ``candidate`` in the place of the one with as many modes, where it is better."""
        old, new = self.done[candidate.modes - 1], candidate
        better = new.expected > old.expected
        if bool(better.any()):
            self.done[old.modes - 1] = replace(
                new,
                state=replace_where(better, new.state, old.state),
                objective=torch.where(better, new.objective, old.objective),
                history=old.history,
                losses=_where(better, new.losses, old.losses),
                finish=replace(
                    new.finish,
                    left=max(new.finish.left, old.finish.left),
                    ahead=torch.where(better, new.finish.ahead, old.finish.ahead),
                ),
            )
        self.run = None
        self.save(None)

    def best(self) -> Tensor:
        """Index of the best candidate: (*batch,).

        That is the one with the largest penalised objective, unless points held out are clearly
        better explained with more modes: with many parameters for few points, BIC asks for more
        than a mode brings.
        """
        best = self._worth().argmax(0)
        for k, candidate in enumerate(self.done):
            best = torch.where((k > best) & self._clearly_above(candidate, best), k, best)
        return best

    def promising(self) -> Candidate | None:
        """The best of those that L-BFGS has not had and may make the best of any data set, if any.

        It may if half as much again as others gained would do.
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
        """One from which a mode less may be as good for a data set, if any; most modes first.

        It has no more modes than the best, and is behind by less than a mode costs. A merger that
        is worse may lead to one that is better.
        """
        worth, best = self._worth(), self.best()
        behind = torch.take_along_dim(worth, best[None], 0) - worth
        for k in range(int(best.max()), 0, -1):
            candidate = self.done[k]
            close = (k <= best) & (behind[k] <= self.penalty)
            finish = candidate.finish
            if finish.gain is not None and not finish.merged and bool(close.any()):
                return candidate
        return None

    def merge(self, candidate: Candidate, state: State, left: int) -> Candidate:
        """What starts from ``state``, made of ``candidate``, with a mode less and steps left."""
        # Not saved before the merger is done: a resumed fit takes it up again.
        finish = replace(candidate.finish, merged=True)
        self.done[candidate.modes - 1] = replace(candidate, finish=finish)
        rival = self.done[candidate.modes - 2]
        nothing = torch.full_like(rival.objective, -torch.inf)
        begun = Finish(gain=candidate.finish.gain, left=left)
        return Candidate(rival.modes, state, nothing, rival.history, finish=begun)

    def unfinished(self) -> Candidate | None:
        """One that is the best of a data set and has steps left, if any."""
        leading = torch.stack([self.best(), self._worth().argmax(0)])
        for k in leading.unique().tolist():
            if self.done[k].finish.left:
                return self.done[k]
        return None

    @property
    def stalled(self) -> bool:
        """Have the last few numbers of modes helped no data set, or has L-BFGS begun?"""
        if any(c.finish.gain is not None for c in self.done):
            return True  # a resumed fit, too, does not go back
        return len(self.done) > IDLE_NUMBERS and bool(
            (self.best() < len(self.done) - IDLE_NUMBERS).all()
        )

    def assemble(self, template: LSEICNN) -> LSEICNN:
        """The best candidates as one batch like ``template``; gates of spare modes are closed."""
        best = self.best()
        most = int(best.max()) + 1
        pot = template.resized(most, best.shape)
        state = snapshot(pot)
        state["alpha"].fill_(CLOSED)
        for candidate in self.done[:most]:
            mine = best == candidate.modes - 1
            for name, p in candidate.state.items():
                own = state[name]
                if name != "log_rho":
                    own = own.narrow(best.dim(), 0, candidate.modes)
                own[mine] = p[mine].to(own)
        pot.load_state_dict(state)
        return pot

    def _worth(self) -> Tensor:
        """Penalised objectives, (candidates, *batch)."""
        return torch.stack([c.expected - self.penalty * c.modes for c in self.done])

    def _clearly_above(self, candidate: Candidate, best: Tensor) -> Tensor:
        """Do points held out prefer ``candidate`` to the one that is ``best``, (*batch,)?"""
        losses = candidate.losses
        if losses is None or len(losses) < 2:
            return torch.zeros_like(best, dtype=torch.bool)
        others = torch.stack([c.losses for c in self.done if c.losses is not None])
        gain = torch.take_along_dim(others, best[None, None], 0).squeeze(0) - losses
        return gain.mean(0) > CLEAR * gain.std(0) / math.sqrt(len(losses))


def _where(mask: Tensor, new: Tensor | None, old: Tensor | None) -> Tensor | None:
    """``new`` where ``mask`` holds, else ``old``; None where one of them is."""
    return None if new is None or old is None else torch.where(mask, new, old)
