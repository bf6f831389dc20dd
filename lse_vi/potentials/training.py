"""The training of a potential with a given number of modes, all restarts at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lse_vi.fitting.best_state import Best, snapshot, take_first
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.history import History, note
from lse_vi.fitting.mode_search import Candidate, ModeSearch
from lse_vi.network.potential import ACTIVE, LSEICNN
from lse_vi.potentials.fewest_modes import FewestModes
from lse_vi.potentials.solver import Solver
from lse_vi.potentials.targets import Targets
from lse_vi.progress.bars import Bar

IMPROVEMENT = 0.99  # a score counts as better below this share of the last that did: 1 % less error


class Split(NamedTuple):
    """The targets of a fit: of the fitted points, and of the held-out points."""

    fitted: Targets
    unseen: Targets


class Errors(NamedTuple):
    """Square roots of the losses, each (restarts, *batch); NaN where there are no points."""

    fitted: Tensor
    unseen: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, pot: LSEICNN, split: Split) -> Errors:
        """The errors of ``pot`` on both parts of ``split``."""
        fitted = split.fitted.loss(pot).sqrt()
        seen = len(split.unseen) > 0
        return cls(
            fitted, split.unseen.loss(pot).sqrt() if seen else torch.full_like(fitted, torch.nan)
        )

    @property
    def score(self) -> Tensor:
        """The larger of the two errors: small if a potential fits and does not overfit."""
        return torch.fmax(self.fitted, self.unseen)

    def on_all(self, share: Tensor | float) -> Tensor:
        """The error on all points together, of which the share ``share`` is held out."""
        squares = (1 - share) * self.fitted.square() + share * self.unseen.nan_to_num().square()
        return squares.sqrt()


@dataclass(kw_only=True)
class BestPotential(Best):
    """The best state so far of every restart.

    Attributes:
        error: of that state on all points, (restarts, *batch).
        mark: the score that the best restart must undercut by 1% to count as better, (*batch,).
    """

    error: Tensor
    mark: Tensor

    @classmethod
    def of(cls, pot: LSEICNN) -> BestPotential:
        """Begin with the state as it is, before any look."""
        unknown = torch.full_like(pot.log_rho.detach(), torch.inf)
        return cls(state=snapshot(pot), score=unknown, error=unknown, mark=unknown[0])

    def look(self, pot: LSEICNN, errors: Errors, share: Tensor | float) -> None:
        """Keep the parameters of the members that are better than their best so far.

        Args:
            pot: of batch shape (restarts, *batch).
            errors: of ``pot``.
            share: of the points that are held out.
        """
        better = errors.score < self.score
        self.keep(pot, better, errors.score)
        self.error = torch.where(better, errors.on_all(share), self.error)
        lowest = self.score.amin(0)
        counts = lowest < IMPROVEMENT * self.mark
        self.stale = 0 if bool(counts.any()) else self.stale + 1
        self.mark = torch.where(counts, lowest, self.mark)


def train(
    pot: LSEICNN,
    title: str,
    steps: int,
    discovery: FewestModes | None,
    *,
    solver: Solver,
    split: Split,
    search: ModeSearch,
    progress: bool,
) -> Candidate:
    """Train all restarts at once, and return the best; resumes the run of this title, if any.

    Args:
        pot: of batch shape (restarts, *batch); its parameters are replaced.
        title: of the bar, and of the run in a checkpoint.
        steps: at most so many.
        discovery: gives the least rho and the tolerance; None for no bound on either.
        solver: begins the run.
        split: the targets.
        search: where the run is saved.
        progress: show a bar with the error.

    Raises:
        NonFiniteLossError: when the loss stops being finite, with the best state so far.
    """
    share = split.unseen.size / (split.fitted.size + split.unseen.size)
    descent = solver.begin(pot, split.fitted, min_rho=discovery.sharpness if discovery else 0.0)
    run: dict[str, Any] = {"title": title, "step": 0, "history": History()}
    best = BestPotential.of(pot)
    if search.run and search.run["title"] == title:
        run, best = search.run, BestPotential(**search.run["best"])
        pot.load_state_dict(run["pot"])
        descent.load_state_dict(run["descent"])
    first, history = run["step"], run["history"]
    bar = Bar(range(first, steps), title, initial=first, total=steps, disable=not progress)
    for step in bar:
        loss = descent.step()
        if not bool(torch.isfinite(loss).all()):
            best.restore_(pot)
            raise NonFiniteLossError(step, pot)
        if (step + 1) % solver.check_every and step + 1 < steps:
            continue
        errors = Errors.of(pot, split)
        best.look(pot, errors, share)
        _note(history, step + 1, pot, split.fitted, errors)
        bar.set_postfix(error=f"{float(best.score.amin(0).max()):.2e}", refresh=False)
        if best.stale >= solver.patience:
            break
        run |= {"step": step + 1, "pot": pot.state_dict(), "descent": descent.state_dict()}
        search.save(run | {"best": vars(best)})
    winner = best.score.argmin(0)
    error = best.error.gather(0, winner.unsqueeze(0)).squeeze(0)
    objective = -error.clamp_min(discovery.tolerance if discovery else 0.0).log()
    return Candidate(pot.modes, take_first(best.state, winner), objective, history)


def _note(history: History, step: int, pot: LSEICNN, fitted: Targets, errors: Errors) -> None:
    """Add an entry for the best restart to the history."""
    with torch.no_grad():
        shares = fitted.mean(pot.responsibilities(fitted.x.unsqueeze(1)), restarts=True)
    seen = {
        "loss": errors.fitted.square(),
        "held_out": errors.unseen.square(),
        "active_modes": (shares > ACTIVE).sum(-1),
        "rho": pot.rho,
        "gates": pot.gates,
        "shares": shares,
    }
    best = take_first({key: v.detach() for key, v in seen.items()}, errors.score.argmin(0))
    note(history, step=step, **{key: v.tolist() for key, v in best.items()})
