"""The end of a fit of a density: L-BFGS on all points, in Fisher's coordinates."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from tqdm.auto import tqdm

from lse_vi.densities.fisher_coordinates import FisherCoordinates
from lse_vi.densities.objective import BestDensity, judge, log_posterior
from lse_vi.densities.recipe import DensityRecipe
from lse_vi.densities.training import PATIENCE, look, title
from lse_vi.densities.training_data import FitData
from lse_vi.distribution.rule import Rule
from lse_vi.fitting.best_state import State, lift, replace_where, snapshot
from lse_vi.fitting.mode_search import Candidate
from lse_vi.fitting.processes import average_
from lse_vi.network.potential import LSEICNN

ROUND_STEPS = 50  # steps of L-BFGS between held-out checks, on one rule and in the same coordinates
GAIN = 0.5  # nats of all points together that a round must gain
IDLE_ROUNDS = 2  # rounds without that gain end the polish
COMING = 0.5  # share of what a round of L-BFGS gained that those after it may bring
SHORTEST = 3  # a round of L-BFGS that fails is halved, down to this
IN_USE = 0.2  # share of the effective number of nodes that a round must leave


def polish(
    pot: LSEICNN, candidate: Candidate, data: FitData, recipe: DensityRecipe, steps: int
) -> Candidate:
    """Go on with a candidate by L-BFGS on all points (Nocedal & Wright 2006, ch. 7).

    Cheap enough to be done anew where a fit is resumed. ``pot`` has batch shape (1, *batch); its
    parameters are replaced. It and ``data`` are in double precision: in single, rounding ends the
    search along a line before a wall is as steep as many points ask for.
    """
    pot.load_state_dict(lift(candidate.state))
    rule, n, history = recipe.rule_of(pot), len(data.rows), candidate.history
    done = int(history["step"][-1])
    objective, losses = judge(pot, data, rule)
    best = BestDensity.of(pot, candidate.objective.unsqueeze(0), losses)
    bar = tqdm(total=steps, desc=f"{title(pot)}, L-BFGS", disable=not recipe.progress)
    length, idle, top, left = ROUND_STEPS, 0, objective, 0
    for step in range(0, steps, ROUND_STEPS):
        before, spread = snapshot(pot), _nodes_in_use(pot, rule)
        pot.load_state_dict(_descend(pot, data, rule, min(length, steps - step)))
        # A fit may run away from the nodes of its rule, or slip in between them. So a round counts
        # if the nodes are still in use, and if new ones find it better, but for errors of log Z.
        good = _nodes_in_use(pot, rule) > IN_USE * spread
        pot.load_state_dict(replace_where(good, snapshot(pot), before))
        fresh = recipe.rule_of(pot)
        now, losses = judge(pot, data, fresh)
        good &= now > objective - n * (rule.error + fresh.error)
        idle = 0 if float((now - top).max()) > GAIN else idle + 1
        ahead = COMING * (now - top).clamp_min(0.0)
        top = torch.maximum(top, now)
        if bool(good.all()):
            rule, objective = fresh, now
        else:
            pot.load_state_dict(replace_where(good, snapshot(pot), before))
            length //= 2
            if length < SHORTEST:
                break
            rule = recipe.rule_of(pot)
            objective, losses = judge(pot, data, rule)
        best.look(pot, objective, losses, noise=n * rule.error, slack=1.0)
        look(history, pot, done + min(step + ROUND_STEPS, steps), objective / n, losses)
        bar.update(min(ROUND_STEPS, steps - step))
        bar.set_postfix(loss=f"{history['loss'][-1]:.4f}", refresh=False)
        if idle >= IDLE_ROUNDS or best.stale >= PATIENCE:
            break
    else:
        left = candidate.finish.left - steps
    bar.close()
    state, top = {name: p.squeeze(0) for name, p in best.state.items()}, best.objective.squeeze(0)
    first = candidate.finish.gain is None
    return replace(
        candidate,
        state=state,
        objective=top,
        losses=best.losses.squeeze(1),
        finish=replace(
            candidate.finish,
            gain=top - candidate.objective if first else candidate.finish.gain,
            left=left,
            ahead=ahead.squeeze(0) if left else torch.zeros_like(top),
        ),
    )


def _descend(pot: LSEICNN, data: FitData, rule: Rule, steps: int) -> State:
    """Some steps of L-BFGS on one rule, in coordinates made for where it starts."""
    coordinates = FisherCoordinates(pot, rule, len(data.rows))
    optimiser = torch.optim.LBFGS(
        coordinates.phi,
        max_iter=steps,
        max_eval=2 * steps,
        history_size=steps,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )

    def closure() -> float:
        optimiser.zero_grad()
        # L-BFGS drops the curvature of a mean: this is the sum over the points
        loss = -log_posterior(coordinates.potential(), data, rule).sum()
        loss.backward()
        loss = loss.detach()
        average_([loss, *(phi.grad for phi in coordinates.phi if phi.grad is not None)])
        return float(loss)

    optimiser.step(closure)
    return snapshot(coordinates.potential())


@torch.no_grad()
def _nodes_in_use(pot: LSEICNN, rule: Rule) -> Tensor:
    """Effective number of nodes, (1, *batch)."""
    return 1 / rule.probabilities(pot).square().sum(0)
