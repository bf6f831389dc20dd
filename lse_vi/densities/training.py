"""The training of a density with a given number of modes: Adam on all restarts at once."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lse_vi.densities.objective import BestDensity, is_finite, judge, log_posterior
from lse_vi.densities.recipe import DensityRecipe
from lse_vi.densities.training_data import FitData
from lse_vi.fitting.best_state import take_first
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.history import History, note
from lse_vi.fitting.mode_search import Candidate, Finish, ModeSearch
from lse_vi.fitting.processes import average_
from lse_vi.fitting.schedule import warm_up
from lse_vi.network.images import hold_
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.weighted import mean_and_error
from lse_vi.progress.bars import Bar

CHECK_STEPS = 50  # Adam steps between held-out checks and checkpoints: a check costs a few steps
PATIENCE = 6  # checks in a row without a better held-out loss that end a fit: the loss is noisy
WARM_UP_SHARE = 0.1  # share of the steps in which the learning rate rises: starts are good already


def train(pot: LSEICNN, data: FitData, recipe: DensityRecipe, search: ModeSearch) -> Candidate:
    """Train all restarts at once, and return the best; resumes the run that ``search`` holds.

    Args:
        pot: of batch shape (restarts, *batch); its parameters are replaced.
        data: the points.
        recipe: the settings of the fit.
        search: where the run is saved.

    Raises:
        NonFiniteLossError: when the loss stops being finite, with the best state so far.
    """
    steps, n = recipe.steps, data.size.to(pot.alpha)
    cycle = max(steps, 1)
    optimiser = torch.optim.Adam([p for p in pot.parameters() if p.requires_grad])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=cycle, pct_start=warm_up(WARM_UP_SHARE, cycle)
    )
    parts: dict[str, Any] = {"pot": pot, "optimiser": optimiser, "schedule": schedule}
    if search.run is None:
        rule = recipe.rule_of(pot)
        objective, losses = judge(pot, data, rule)
        if not bool(objective.isfinite().all()):
            raise NonFiniteLossError(0, pot)
        best, history = BestDensity.of(pot, objective, losses), History()
        look(history, pot, 0, objective / n, losses)
        run: dict[str, Any] = {"step": 0, "history": history}
    else:
        run, best, history = search.run, BestDensity(**search.run["best"]), search.run["history"]
        for name, part in parts.items():
            part.load_state_dict(run[name])
        search.restore_random_state()
    first, silent = run["step"], not (recipe.progress and steps)
    bar = Bar(range(first, steps), title(pot), initial=first, total=steps, disable=silent)
    for step in bar:
        if step and step % recipe.rule_every == 0:
            rule = recipe.rule_of(pot)
        optimiser.zero_grad()
        loss = -(log_posterior(pot, data, rule.part(step, recipe.rule_parts)) / n).sum()
        loss.backward()
        average_(p.grad for p in pot.parameters() if p.grad is not None)
        if not is_finite(loss, pot):
            best.restore_(pot)
            raise NonFiniteLossError(step, pot)
        optimiser.step()
        hold_(pot)
        schedule.step()

        if (step + 1) % CHECK_STEPS == 0 or step + 1 == steps:
            rule = recipe.rule_of(pot)
            objective, losses = judge(pot, data, rule)
            best.look(pot, objective, losses, noise=n * rule.error)
            look(history, pot, step + 1, objective / n, losses)
            bar.set_postfix(loss=f"{history['loss'][-1]:.4f}", refresh=False)
            if best.stale >= PATIENCE:
                break
            run["step"] = step + 1
            run |= {name: part.state_dict() for name, part in parts.items()}
            search.save(run | {"best": vars(best)})

    # The state kept is the best on held-out data, but numbers of modes are compared by the largest
    # objective: the state kept may lie tens of nats below it by chance.
    winner = best.score.argmin(0)
    top = best.objective.gather(0, winner.unsqueeze(0)).squeeze(0)
    losses = torch.take_along_dim(best.losses, winner[None, None], 1).squeeze(1)
    state = take_first(best.state, winner)
    finish = Finish(left=recipe.polish)
    early = (state, losses)
    return Candidate(pot.modes, state, top, history, losses=losses, finish=finish, early=early)


def look(history: History, pot: LSEICNN, step: int, objective: Tensor, losses: Tensor) -> None:
    """Add a check to the history: of the best restart, as a mean over the data sets.

    Args:
        objective: in nats per point, (restarts, *batch).
        losses: of held-out points, (n, restarts, *batch).
    """
    held_out = float(mean_and_error(losses)[0].amin(0).mean()) if len(losses) else math.nan
    loss = float((-objective).amin(0).mean())
    note(history, step=step, loss=loss, held_out=held_out, active_modes=pot.modes)


def title(pot: LSEICNN) -> str:
    """The text in front of a progress bar."""
    return f"{pot.modes} mode{'s' if pot.modes > 1 else ''}"
