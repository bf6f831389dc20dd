"""L-BFGS on all points, in the coordinates of :class:`FisherCoordinates`."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lse_vi.densities.fisher_coordinates import FisherCoordinates
from lse_vi.densities.objective import judge, log_posterior
from lse_vi.densities.recipe import DensityRecipe
from lse_vi.densities.training import look, title
from lse_vi.densities.training_data import FitData
from lse_vi.distribution.rule import AnyRule
from lse_vi.fitting.best_state import State, lift, replace_where, snapshot
from lse_vi.fitting.mode_search import Candidate, is_clear
from lse_vi.fitting.processes import average_
from lse_vi.network.images import TooManyImagesError
from lse_vi.network.potential import LSEICNN
from lse_vi.progress.bars import Bar

# Steps of L-BFGS in a round: long enough to learn the curvature, short enough that the rule for
# log Z and the coordinates, which are fixed within a round, still fit the potential at its end.
ROUND_STEPS = 50
ROUND_GAIN = 0.5  # nats, all points together: a round that gains less is idle; a mode costs more
# The same for the winner. Until a fit has converged, L-BFGS makes of a difference in rounding one
# ten million times as large.
LAST_GAIN = 1e-6
# Idle rounds in a row that end the polish: one may be idle by an unlucky rule. One that failed
# says nothing of what is left to gain, and does not count.
IDLE_ROUNDS = 2
STRETCH, STRETCH_SHARE = 10, 0.1  # steps of a round that go on while they gain a share of its gain
COMING = 0.5  # expected gain of all later rounds, as a share of the last: gains shrink fast
SHORTEST = 3  # steps: a round that fails is repeated at half the length; shorter ones learn nothing
# Share of the effective number of nodes of the rule that a round must keep: with fewer, the
# potential has moved to where the rule has no nodes.
IN_USE = 0.2
EVALUATIONS = 2  # of the loss per step of L-BFGS, at most: most line searches need one


def polish(
    pot: LSEICNN,
    candidate: Candidate,
    data: FitData,
    recipe: DensityRecipe,
    steps: int,
    goal: Tensor | None = None,
    settled: bool = False,
    converge: bool = False,
) -> Candidate:
    """Improve a candidate by L-BFGS on all points (Nocedal & Wright 2006, ch. 7).

    A polish is not saved before it is done: it is cheap enough to repeat when a fit is resumed.

    Args:
        pot: of batch shape (1, *batch); its parameters are replaced. ``pot`` and ``data`` must be
            in double precision: in single precision, rounding ends the line search before a wall is
            as steep as many points require.
        candidate: whose state is the start.
        data: the points.
        recipe: the settings of the fit.
        steps: at most so many.
        goal: the objective, (*batch,), that must stay within twice the gain that is expected of
            the steps that are left, or the polish ends; None to take all steps.
        settled: whether no other number of modes may win. Then the polish ends once points held
            out clearly speak for the start: with steps that only fit their noise, numbers are
            compared, but nothing is kept of them.
        converge: until a round gains less than a millionth of a nat, or than the error of log Z,
            in place of half a nat; in a plane, with the rule by which states are compared.
    """
    pot.load_state_dict(lift(candidate.state))
    rules = recipe.rules_of(pot, last=converge)
    n, history = data.size.to(pot.alpha), candidate.history
    done = int(history["step"][-1])
    objective, losses = judge(pot, data, rules.judge)
    noise = float((n * rules.steps.error).amax())
    least = min(max(LAST_GAIN, noise), ROUND_GAIN) if converge else ROUND_GAIN
    bar = Bar(total=steps, desc=f"{title(pot)}, L-BFGS", disable=not recipe.progress)
    length, idle, left, step = ROUND_STEPS, 0, 0, 0
    ahead = torch.zeros_like(objective)
    while step < steps:
        before, spread = snapshot(pot), _nodes_in_use(pot, rules.steps)
        after, taken = _descend(pot, data, rules.steps, min(length, steps - step), least)
        step += taken
        pot.load_state_dict(after or before)
        # A fit may move away from the nodes of its rule, or become narrow between them, and so
        # underestimate log Z. A round is accepted if the nodes still carry the mass, and if it has
        # gained on new nodes.
        good = (_nodes_in_use(pot, rules.steps) > IN_USE * spread) & (after is not None)
        pot.load_state_dict(replace_where(good, snapshot(pot), before))
        rules = recipe.rules_of(pot, last=converge)
        gained, losses, error = _gains(pot, before, data, rules.judge)
        good &= gained > -error
        pot.load_state_dict(replace_where(good, snapshot(pot), before))
        gained = torch.where(good, gained, 0.0)
        objective = objective + gained
        idle = 0 if bool((gained > error.clamp_min(least)).any()) else idle + int(good.all())
        ahead = torch.where(good, COMING * gained.clamp_min(0.0), ahead)
        if not bool(good.all()):
            length //= 2
            if length < SHORTEST:
                break
            rules = recipe.rules_of(pot, last=converge)
            losses = judge(pot, data, rules.judge)[1]
        look(history, pot, done + step, objective / n, losses)
        bar.update(taken)
        bar.set_postfix(loss=f"{history['loss'][-1]:.4f}", refresh=False)
        if idle >= IDLE_ROUNDS or (settled and _overfits(losses, candidate)):
            break
        if goal is not None and bool((good & (objective + 2 * ahead < goal)).all()):
            left = max(candidate.finish.left - step, 0)  # which would lead nowhere
            break
    else:
        left = max(candidate.finish.left - steps, 0)
    bar.close()
    top = objective.squeeze(0)
    first = candidate.finish.gain is None
    return replace(
        candidate,
        state={name: p.squeeze(0) for name, p in snapshot(pot).items()},
        objective=top,
        losses=losses.squeeze(1),
        finish=replace(
            candidate.finish,
            gain=top - candidate.objective if first else candidate.finish.gain,
            left=left,
            converged=converge,
            ahead=ahead.squeeze(0) if left else torch.zeros_like(top),
        ),
    )


def _descend(
    pot: LSEICNN, data: FitData, rule: AnyRule, steps: int, least: float
) -> tuple[State | None, int]:
    """The state after some steps of L-BFGS on one rule, in coordinates made at the start.

    None where a step led to modes that are too wide for a circle: fewer steps may not.

    Returns:
        The state, and the number of steps, fewer than ``steps`` where they gain nothing.
    """
    coordinates = FisherCoordinates(pot, rule, data.size, half_open=data.half_open)
    stretch, too_little = min(STRETCH, steps), STRETCH_SHARE * least * pot.batch_shape.numel()
    optimiser = torch.optim.LBFGS(
        coordinates.phi,
        max_iter=stretch,
        max_eval=EVALUATIONS * stretch,
        history_size=steps,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )

    def closure() -> float:
        optimiser.zero_grad()
        # The sum over the points: torch's L-BFGS ignores curvature below 1e-10, as a mean may have.
        loss = -log_posterior(coordinates.potential(), data, rule).sum()
        loss.backward()
        loss = loss.detach()
        average_([loss, *(phi.grad for phi in coordinates.phi if phi.grad is not None)])
        return float(loss)

    losses = list[float]()
    try:
        while len(losses) * stretch < steps:
            losses.append(float(optimiser.step(closure)))  # at its start
            if len(losses) > 1 and losses[-2] - losses[-1] < too_little:
                break
    except TooManyImagesError:
        return None, steps
    return snapshot(coordinates.potential()), min(len(losses) * stretch, steps)


def _overfits(losses: Tensor, candidate: Candidate) -> bool:
    """Whether points held out, (n, 1, *batch), clearly speak for the state before all L-BFGS."""
    if candidate.early is None or not len(losses):
        return False
    return bool(is_clear(losses.squeeze(1) - candidate.early[1]).all())


@torch.no_grad()
def _gains(
    pot: LSEICNN, before: State, data: FitData, rule: AnyRule
) -> tuple[Tensor, Tensor, Tensor]:
    """What ``pot`` has gained since the state ``before``, judged by nodes of its own.

    The same nodes judge both, as log Z by one set of draws and by another differ by more than a
    round gains.

    Returns:
        The gain of the objective, in nats, (1, *batch); the held-out losses of ``pot``; and the
        error of the gain.
    """
    after = snapshot(pot)
    now, losses = judge(pot, data, rule)
    shares = rule.probabilities(pot)
    pot.load_state_dict(before)
    then, _ = judge(pot, data, rule)
    of_draws = (shares - rule.probabilities(pot)).norm(dim=0)
    pot.load_state_dict(after)
    error = data.size.to(shares) * torch.minimum(of_draws, 2 * rule.error)
    return now - then, losses, error


@torch.no_grad()
def _nodes_in_use(pot: LSEICNN, rule: AnyRule) -> Tensor:
    """The effective number of nodes that carry the mass of q, (1, *batch)."""
    return 1 / rule.probabilities(pot).square().sum(0)
