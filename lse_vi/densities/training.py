"""Adam on every restart of a density with a given number of modes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from lse_vi.densities.objective import BestDensity, is_finite, judge, log_posterior
from lse_vi.densities.recipe import DensityRecipe
from lse_vi.densities.training_data import FitData
from lse_vi.fitting.best_state import take_first
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.history import History, note
from lse_vi.fitting.mode_search import Candidate, Finish, ModeSearch
from lse_vi.fitting.processes import average_
from lse_vi.fitting.schedule import warm_up
from lse_vi.network.potential import LSEICNN

REFRESH = 50  # steps of Adam between held-out checks and checkpoints
PATIENCE = 6  # checks without a better held-out loss before a fit stops


def train(pot: LSEICNN, data: FitData, recipe: DensityRecipe, search: ModeSearch) -> Candidate:
    """Adam on every restart at once; goes on from the search's run if there is one.

    ``pot`` has batch shape (restarts, *batch).
    """
    steps, n = recipe.steps, len(data.rows)
    optimiser = torch.optim.Adam([p for p in pot.parameters() if p.requires_grad])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps, pct_start=warm_up(0.1, steps)
    )
    parts: dict[str, Any] = {"pot": pot, "optimiser": optimiser, "schedule": schedule}
    if search.run is None:
        objective, losses = judge(pot, data, recipe.rule_of(pot))
        best, history = BestDensity.of(pot, objective, losses), History()
        run: dict[str, Any] = {"step": 0, "history": history}
    else:
        run, best, history = search.run, BestDensity(**search.run["best"]), search.run["history"]
        for name, part in parts.items():
            part.load_state_dict(run[name])
        search.restore_random_state()
    bar = tqdm(
        range(run["step"], steps), title(pot), initial=run["step"], total=steps,
        disable=not recipe.progress,
    )  # fmt: skip
    for step in bar:
        if step % recipe.rule_every == 0:
            rule = recipe.rule_of(pot)
        optimiser.zero_grad()
        loss = -log_posterior(pot, data, rule.part(step, recipe.rule_parts)).sum() / n
        loss.backward()
        average_(p.grad for p in pot.parameters() if p.grad is not None)
        if not is_finite(loss, pot):
            best.restore_(pot)
            raise NonFiniteLossError(step, pot)
        optimiser.step()
        schedule.step()

        if (step + 1) % REFRESH == 0 or step + 1 == steps:
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

    # The state is the best on held-out data, but modes are counted where the objective was
    # largest: where early stopping happens to land may be tens of nats below that.
    winner = best.score.argmin(0)
    top = best.objective.gather(0, winner.unsqueeze(0)).squeeze(0)
    losses = torch.take_along_dim(best.losses, winner[None, None], 1).squeeze(1)
    state = take_first(best.state, winner)
    finish = Finish(left=recipe.polish)
    return Candidate(pot.modes, state, top, history, losses=losses, finish=finish)


def look(history: History, pot: LSEICNN, step: int, objective: Tensor, losses: Tensor) -> None:
    """Note what was judged, of the best restart and the mean data set."""
    held_out = float(losses.mean(0).amin(0).mean()) if len(losses) else math.nan
    loss = float((-objective).amin(0).mean())
    note(history, step=step, loss=loss, held_out=held_out, active_modes=pot.modes)


def title(pot: LSEICNN) -> str:
    """The text before a bar."""
    return f"{pot.modes} mode{'s' if pot.modes > 1 else ''}"
