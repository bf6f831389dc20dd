"""The training of a density with a given number of modes: Adam on every restart, then L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from lse_vi.fisher import FisherCoordinates
from lse_vi.fit_data import FitData
from lse_vi.mode_search import Candidate, ModeSearch
from lse_vi.parallel import average_, own_share, processes
from lse_vi.potential import LSEICNN
from lse_vi.prior import log_prior
from lse_vi.rules import Rule
from lse_vi.schedule import warm_up
from lse_vi.states import Best, State, replace_where, snapshot, take_first

REFRESH = 50  # steps of Adam between held-out checks and checkpoints
ROUND = 50  # steps of L-BFGS between held-out checks, on one rule and in the same coordinates
PATIENCE = 6  # checks without a better held-out loss before a fit stops
GAIN, IDLE = 0.5, 2  # nats of all points together, and rounds of L-BFGS without them that end it
COMING = 0.5  # share of what a round of L-BFGS gained that those after it may bring
SHORTEST = 3  # a round of L-BFGS that fails is halved, down to this
IN_USE = 0.2  # share of the effective number of nodes that a round must leave

History = dict[str, list[float]]


class NonFiniteLossError(RuntimeError):
    """A fit met a loss that is not finite; ``potential`` is the last good state.

    Args:
        step: at which it happened.
        potential: the state before.

    Example:
        >>> try:
        ...     raise NonFiniteLossError(7, LSEICNN(1, 2))
        ... except NonFiniteLossError as failure:
        ...     print(failure.potential.modes, str(failure)[:32])
        2 the loss is not finite at step 7
    """

    def __init__(self, step: int, potential: LSEICNN) -> None:
        super().__init__(
            f"the loss is not finite at step {step} with {potential.modes} modes; the last good "
            "state is in the potential attribute of this error. A smaller learning_rate helps."
        )
        self.potential = potential


@dataclass(frozen=True)
class Recipe:
    """How every number of modes is trained.

    Attributes:
        rule_of: the rule for log Z of a potential.
        rule_every, rule_parts: steps of Adam between rules, and how many take a rule's draws in
            turn.
        steps, learning_rate: of Adam.
        polish: steps of L-BFGS that may follow.
        progress: show bars.
    """

    rule_of: Callable[[LSEICNN], Rule]
    rule_every: int
    rule_parts: int
    steps: int
    learning_rate: float
    polish: int
    progress: bool


def train(pot: LSEICNN, data: FitData, recipe: Recipe, search: ModeSearch) -> Candidate:
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
        objective, losses = _judge(pot, data, recipe.rule_of(pot))
        best = Best(snapshot(pot), losses, objective)
        history: History = {"step": [], "loss": [], "held_out": [], "active_modes": []}
        run: dict[str, Any] = {"step": 0, "history": history}
    else:
        run, best, history = search.run, Best(**search.run["best"]), search.run["history"]
        for name, part in parts.items():
            part.load_state_dict(run[name])
        search.restore_random_state()
    bar = tqdm(
        range(run["step"], steps), _title(pot), initial=run["step"], total=steps,
        disable=not recipe.progress,
    )  # fmt: skip
    for step in bar:
        if step % recipe.rule_every == 0:
            rule = recipe.rule_of(pot)
        optimiser.zero_grad()
        loss = -_objective(pot, data, rule.part(step, recipe.rule_parts)).sum() / n
        loss.backward()
        average_(p.grad for p in pot.parameters() if p.grad is not None)
        if not _finite(loss, pot):
            pot.load_state_dict(best.state)
            raise NonFiniteLossError(step, pot)
        optimiser.step()
        schedule.step()

        if (step + 1) % REFRESH == 0 or step + 1 == steps:
            rule = recipe.rule_of(pot)
            objective, losses = _judge(pot, data, rule)
            best.look(pot, objective, losses, noise=n * rule.error)
            _note(history, pot, step + 1, objective / n, losses)
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
    return Candidate(pot.modes, state, top, history, losses=losses, left=recipe.polish)


def polish(
    pot: LSEICNN, candidate: Candidate, data: FitData, recipe: Recipe, steps: int
) -> Candidate:
    """Go on with a candidate by L-BFGS on all points (Nocedal & Wright 2006, ch. 7).

    Cheap enough to be done anew where a fit is resumed. ``pot`` has batch shape (1, *batch); its
    parameters are replaced. It and ``data`` are in double precision: in single, rounding ends the
    search along a line before a wall is as steep as many points ask for.
    """
    pot.load_state_dict({name: p.unsqueeze(0) for name, p in candidate.state.items()})
    rule, n, history = recipe.rule_of(pot), len(data.rows), candidate.history
    done = int(history["step"][-1])
    objective, losses = _judge(pot, data, rule)
    best = Best(snapshot(pot), losses, candidate.objective.unsqueeze(0))
    bar = tqdm(total=steps, desc=f"{_title(pot)}, L-BFGS", disable=not recipe.progress)
    length, idle, top, left = ROUND, 0, objective, 0
    for step in range(0, steps, ROUND):
        before, spread = snapshot(pot), _nodes_in_use(pot, rule)
        pot.load_state_dict(_descend(pot, data, rule, min(length, steps - step)))
        # A fit may run away from the nodes of its rule, or slip in between them. So a round counts
        # if the nodes are still in use, and if new ones find it better, but for errors of log Z.
        good = _nodes_in_use(pot, rule) > IN_USE * spread
        pot.load_state_dict(replace_where(good, snapshot(pot), before))
        fresh = recipe.rule_of(pot)
        now, losses = _judge(pot, data, fresh)
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
            objective, losses = _judge(pot, data, rule)
        best.look(pot, objective, losses, noise=n * rule.error, slack=1.0)
        _note(history, pot, done + min(step + ROUND, steps), objective / n, losses)
        bar.update(min(ROUND, steps - step))
        bar.set_postfix(loss=f"{history['loss'][-1]:.4f}", refresh=False)
        if idle >= IDLE or best.stale >= PATIENCE:
            break
    else:
        left = candidate.left - steps
    bar.close()
    state, top = {name: p.squeeze(0) for name, p in best.state.items()}, best.objective.squeeze(0)
    return replace(
        candidate,
        state=state,
        objective=top,
        left=left,
        losses=best.losses.squeeze(1),
        gain=top - candidate.objective if candidate.gain is None else candidate.gain,
        ahead=ahead.squeeze(0) if left else torch.zeros_like(top),
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
        loss = -_objective(coordinates.potential(), data, rule).sum()
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


@torch.no_grad()
def _judge(pot: LSEICNN, data: FitData, rule: Rule) -> tuple[Tensor, Tensor]:
    """The objective, (restarts, *batch), and the losses of the points held out."""
    log_z = rule.log_normalizer(pot)
    mean = data.mean(lambda x: pot(x.unsqueeze(1)))
    return log_prior(pot) - len(data.rows) * (mean + log_z), pot(data.test.unsqueeze(1)) + log_z


def _note(history: History, pot: LSEICNN, step: int, objective: Tensor, losses: Tensor) -> None:
    """Write what was judged, of the best restart and the mean data set."""
    held_out = float(losses.mean(0).amin(0).mean()) if len(losses) else math.nan
    entries = (step, float((-objective).amin(0).mean()), held_out, pot.modes)
    for values, entry in zip(history.values(), entries, strict=True):
        values.append(entry)


def _objective(pot: LSEICNN, data: FitData, rule: Rule) -> Tensor:
    """Log prior and log-likelihood, (restarts, *batch), an average over the processes."""
    drawn, lead = data.draw(), pot.batch_shape
    x = own_share(drawn).unsqueeze(1).expand(-1, *lead, -1)
    energies, nodes = pot(torch.cat([x, rule.points.expand(-1, *lead, -1)])).split(
        [len(x), len(rule.points)]
    )  # in one pass through the network
    log_z = torch.logsumexp(rule.log_weights - nodes, dim=0)
    mean = energies.sum(0) * (processes() / len(drawn))  # over the points of all processes
    return log_prior(pot) - len(data.rows) * (mean + log_z)


def _finite(loss: Tensor, pot: LSEICNN) -> bool:
    """Are the loss and its gradient finite?"""
    total = loss.detach() + sum(p.grad.abs().sum() for p in pot.parameters() if p.grad is not None)
    return bool(torch.isfinite(total))


def _title(pot: LSEICNN) -> str:
    return f"{pot.modes} mode{'s' if pot.modes > 1 else ''}"
