"""The fit of a potential to values, gradients or both, with all restarts in one batch."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lse_vi.fitting.best_state import lift, replace_where, snapshot
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.history import join
from lse_vi.fitting.mode_search import ModeSearch
from lse_vi.fitting.random_state import reseed, seeded
from lse_vi.fitting.starts import start_on_clusters
from lse_vi.network.circle import as_period
from lse_vi.network.copies import with_units
from lse_vi.network.icnn import ICNN, whitened
from lse_vi.network.potential import LSEICNN
from lse_vi.potentials.adam import Adam
from lse_vi.potentials.fewest_modes import FewestModes, enough
from lse_vi.potentials.levenberg_marquardt import LevenbergMarquardt
from lse_vi.potentials.outliers import without_outliers
from lse_vi.potentials.recipe import PotentialRecipe
from lse_vi.potentials.result import PotentialFit, result_of
from lse_vi.potentials.scaling import no_scaling, scaling_of
from lse_vi.potentials.solver import Solver
from lse_vi.potentials.targets import Targets, as_targets, spread_or_one
from lse_vi.potentials.training import Errors, Split, train
from lse_vi.random.draws import randperm
from lse_vi.signatures.checked import checked
from lse_vi.signatures.gradients import with_gradients

COLD = 2.0  # per spread of the values, by which low ones weigh more in a start: wells stand out
OUTLIER_ROUNDS = 4  # fits without outliers, each of which may readmit points


@checked
@with_gradients()
def fit_potential(
    pot: LSEICNN,
    x: Any,
    value: Any = None,
    gradient: Any = None,
    *,
    weights: Any = None,
    period: Any = None,
    value_weight: Any = 1.0,
    gradient_weight: Any = 1.0,
    discovery: FewestModes | None = FewestModes(),  # noqa: B008  frozen
    solver: Solver = LevenbergMarquardt(),  # noqa: B008  frozen
    standardise: bool = True,
    held_out: float = 0.1,
    restarts: int = 8,
    polish: int = 100,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> PotentialFit:
    r"""Fit E to values, E(x_i) = y_i, to gradients, grad E(x_i) = g_i, or to both.

    Use it to learn an energy landscape from energies, forces or rates. The loss is the sum of the
    mean squared errors of values and gradients, each divided by the mean square of its target, so
    that an error is a share of the target's spread (paper Eq. 7 and 15 without the penalty on
    alpha). The number of modes is found by ``discovery``. ``pot`` itself is not changed.

    Args:
        pot: gives the largest number of modes, their networks, and rho at the start; its batch
            shape (*batch) holds independent fits. A rho or gates that need no gradient keep their
            values. Parameters of networks can be kept only with ``restarts=0`` and
            ``standardise=False``.
        x: points (n, dim) or (n,); or (n, *batch, dim) with other points for each fit.
        value: y, (n,) or (n, *batch).
        gradient: g, (n, dim) or (n, *batch, dim). For forces, g is minus the force; for a gradient
            flow, g is minus the rate (see :func:`lse_vi.rates_from_trajectories`). Without values
            the offset of E is free, and is set so that E is 0 at the lowest data point.
        weights: of the points, (n,) or (n, *batch). Integers are counts: a point of weight 3 is
            three equal points. Of floating numbers only the ratios matter.
        period: of x, a number or one per coordinate, None where not periodic: 360 for torsions in
            degrees; by default that of ``pot``. E and its gradient are then periodic. It needs
            strongly convex modes, ``LSEICNN(..., network=WhitenedICNN)``.
        value_weight: weight of the values in the loss, a number or (*batch,).
        gradient_weight: weights of the gradient's components, a number, (dim,) or (*batch, dim).
            Weights say which errors matter more; they do not rescale the targets.
        discovery: how the number of modes is chosen; None fits all the modes of ``pot``.
        solver: :class:`LevenbergMarquardt` or :class:`Adam`; every number of modes takes its steps
            anew.
        standardise: False to fit in the units given, with plain mean squared errors.
        held_out: share of the points that decides when the fit stops early, and judges it.
        restarts: random starts (modes on clusters of the points) for each number of modes, in one
            batch; 0 starts from the parameters of ``pot`` and needs ``discovery=None``.
        polish: at most so many further steps for the best restart.
        seed: for the starts and the held-out share; the global random state is left alone.
        progress: show a bar with the loss.
        checkpoint: a file to write during the fit; an interrupted fit called again with the same
            arguments goes on from it and ends where an uninterrupted one does.

    Raises:
        TypeError: for a pot, solver or discovery of another type.
        ValueError: for shapes that disagree and data that are not finite, constant or too few.
        NonFiniteLossError: when the loss stops being finite, with the last good state.

    Example:
        >>> x = torch.linspace(-2, 2, 100)
        >>> y = (x**2 - 1) ** 2
        >>> res = fit_potential(LSEICNN(1, 4, hidden=(5,)), x, value=y, progress=False)
        >>> len(res.minima.points)
        2
    """
    recipe = PotentialRecipe(
        discovery=discovery, solver=solver, standardise=standardise, held_out=held_out,
        restarts=restarts, polish=polish, seed=seed, progress=progress, checkpoint=checkpoint,
    )  # fmt: skip
    recipe.check(pot)
    pot = _on_circle(pot, period)
    given = as_targets(pot, x, value, gradient, value_weight, gradient_weight, weights)
    res = _fit(pot, given, recipe)
    kept = torch.arange(len(given), device=given.x.device)
    for _ in range(OUTLIER_ROUNDS):
        # An outlier bends the first fit, which may then contradict its neighbours too.
        good = without_outliers(res.potential, given)
        if torch.equal(good, kept):
            break
        # The first fit is on file, if there is a file; the others are those of other data.
        kept = good
        res = _fit(pot, given[kept], replace(recipe, checkpoint=None))
    if len(kept) < len(given):
        res.leave_out(given, kept)
    return res


def _fit(pot: LSEICNN, given: Targets, recipe: PotentialRecipe) -> PotentialFit:
    """One fit, to all the points given."""
    discovery, solver, restarts = recipe.discovery, recipe.solver, recipe.restarts
    n_test = recipe.held_out_points(pot, len(given))
    file = Checkpoint(recipe.checkpoint, lambda: recipe.fingerprint(pot, given))
    scaling = scaling_of(given) if recipe.standardise else no_scaling(given)
    targets = (scaling.standardise(given) if recipe.standardise else given).to(pot.alpha.dtype)
    device = given.x.device
    with seeded(recipe.seed):
        like = pot.resized(pot.modes)
        if not pot.log_rho.requires_grad:  # a fixed rho is in the units given: convert it
            like.log_rho.add_((scaling.height / pot.units.height).log())
        like.units.set_(period=pot.units.period / scaling.scale)
        search = ModeSearch(file, math.log(discovery.gain) if discovery else 0.0, device)
        reseed(recipe.seed)
        order = randperm(len(given)).to(device)

        def split_of(whole: Targets) -> Split:
            return Split(whole[order[n_test:]], whole[order[:n_test]])

        split = split_of(targets)
        descend = partial(
            train, solver=solver, split=split, search=search, progress=recipe.progress
        )
        try:
            numbers = range(1, pot.modes + 1) if discovery else [pot.modes]
            for modes in numbers[len(search.done) :]:
                if discovery and enough(search, discovery):
                    break
                start = like.resized(modes, (max(restarts, 1), *pot.batch_shape))
                if restarts:
                    reseed(recipe.seed)
                    _start(start, split.fitted, recipe.seed)
                else:
                    start.load_state_dict(lift(pot.state_dict()))
                    scaling.apply_(start)
                search.add(descend(start, f"{modes} modes", solver.steps, discovery))
            for modes in range(len(search.done) - 1, 1, -1):
                if discovery and bool((search.best() == modes).any()):  # best with modes + 1
                    more = like.resized(modes + 1)
                    more.load_state_dict(search.done[modes].state)
                    title = f"{modes} of {modes + 1} modes"
                    search.improve(descend(_without_each(more), title, solver.steps, discovery))
            best = search.assemble(like) if discovery else like.resized(pot.modes)
            if not discovery:
                best.load_state_dict(search.done[0].state)
            runs = [candidate.history for candidate in search.done]
            if recipe.polish:
                start = like.resized(best.modes, (1, *pot.batch_shape))
                start.load_state_dict(lift(best.state_dict()))
                last = descend(start, "polish", recipe.polish, None)
                best.load_state_dict(last.state)
                runs.append(last.history)
        except NonFiniteLossError as failure:
            scaling.restore_(failure.potential)
            raise
    shares = targets if recipe.standardise else targets.in_shares()
    errors = Errors.of(best.with_parameters(lift(dict(best.named_parameters()))), split_of(shares))
    scaling.restore_(best)
    return result_of(best, given, errors, join(runs))


@checked
def paper_recipe(steps: int = 150_000) -> dict[str, Any]:
    """Arguments for :func:`fit_potential` that repeat the paper's fit as printed, to compare with.

    Adam at 1e-3 (1e-4 for alpha and rho) on the plain mean squared error of all points, with the
    penalty 1e-4 sum |alpha_k|, from the parameters that the potential was made with. This recipe
    closes no gate: the penalty is least at alpha = 0, where a gate is 4.5e-5, above the paper's own
    threshold of 1e-6 for an active mode. The result counts modes by responsibility, as always.

    Args:
        steps: of Adam; the paper's number by default.

    Example:
        >>> x = torch.linspace(-2, 2, 50)
        >>> recipe = paper_recipe(steps=200)
        >>> res = fit_potential(LSEICNN(1, 10), x, value=x**4, progress=False, **recipe)
        >>> bool((res.potential.gates > 4e-5).all())
        True
    """
    return {
        "solver": Adam(
            steps=steps,
            learning_rate=1e-3,
            gate_learning_rate=1e-4,
            gate_penalty=1e-4,
            patience=steps,
        ),
        "discovery": None,
        "polish": 0,
        "standardise": False,
        "held_out": 0.0,
        "restarts": 0,
    }


def _on_circle(pot: LSEICNN, period: Any) -> LSEICNN:
    """``pot`` with the period that the user gives, or its own."""
    if period is None:
        return pot
    whitened(pot.network, "period")
    given, own = as_period(period, pot.dim), pot.units.period.cpu()
    if pot.units.turn is not None and not bool((given == own).all()):
        raise ValueError(f"period must be that of pot, {own.tolist()}, or None, but got {period!r}")
    return with_units(pot, **{**dict(pot.units.named_buffers()), "period": given})


def _start(pot: LSEICNN, targets: Targets, seed: int) -> None:
    """Put the modes of every restart on clusters of the points.

    Every other restart has strongly convex modes on clusters of low values: such a mode is a well
    of its own from the start, and does not find one by bending less.
    """
    start_on_clusters(pot, targets.x, seed, targets.worth)
    if targets.value is None or isinstance(pot.network, ICNN):
        return
    spread = spread_or_one(targets.variance(targets.value).sqrt())
    low = (-COLD * (targets.value - targets.value.amin(0)) / spread).exp()
    plain = snapshot(pot)
    start_on_clusters(pot, targets.x, seed, low if targets.worth is None else low * targets.worth)
    odd = torch.arange(len(pot.alpha), device=low.device) % 2 == 1
    odd = odd.reshape(-1, *(1,) * (pot.log_rho.dim() - 1)).expand(pot.batch_shape)
    pot.load_state_dict(replace_where(odd, snapshot(pot), plain))


def _without_each(pot: LSEICNN) -> LSEICNN:
    """``pot`` with each mode left out in turn: batch shape (modes, *batch), one mode less."""
    states = []
    for k in range(pot.modes):
        keep = torch.ones_like(pot.alpha, dtype=torch.bool)
        keep[..., k] = False
        states.append(pot.prune(keep).state_dict())
    start = pot.resized(pot.modes - 1, (pot.modes, *pot.batch_shape))
    start.load_state_dict({name: torch.stack([s[name] for s in states]) for name in states[0]})
    return start
