"""Fits of a potential to values, gradients or both: one visible loop, restarts in one batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from lse_vi.checkpoint import Checkpoint
from lse_vi.checks import check_count, check_fraction, check_object, check_positive
from lse_vi.density_training import NonFiniteLossError
from lse_vi.digest import digest
from lse_vi.mode_search import Candidate, ModeSearch
from lse_vi.potential import ACTIVE, LSEICNN
from lse_vi.potential_fit import HISTORY, PotentialFit
from lse_vi.random_state import fork_random_state, reseed
from lse_vi.solvers import Adam, LevenbergMarquardt, Solver
from lse_vi.starts import start_on_clusters
from lse_vi.states import State, replace_where, snapshot, take_first
from lse_vi.targets import Targets, as_targets, no_scaling, scaling_of


@dataclass(frozen=True)
class FewestModes:
    r"""Keep the smallest number of modes that fits.

    K = 1, 2, ... modes are fitted in turn, then once more those one below the best, from the best
    with each of its modes left out. Kept is the K with the smallest

    .. math:: \log\max(\mathrm{error}_K, \mathrm{tolerance}) + K \log \mathrm{gain}

    so a mode must lower the error by the factor ``gain``, and errors below ``tolerance`` are as
    good as none. The search ends at the tolerance, or when two more modes have not paid.

    Modes count wells only while they are told apart: with a small rho, two modes alone can make
    any shape, as a difference of large convex functions. So rho stays above ``sharpness`` during
    the search, and is free afterwards.

    Args:
        tolerance: error that is good enough, as a share of the spread of the targets; in their
            units where a fit does not standardise.
        gain: more than 1.
        sharpness: least rho, per standard deviation of E; per unit where a fit does not
            standardise.

    Raises:
        ValueError: for a tolerance or sharpness that is not positive, or a gain of one or less.

    Example:
        >>> x, pot = torch.linspace(-2, 2, 50), LSEICNN(1, 4, hidden=(5,))
        >>> few = {"discovery": FewestModes(tolerance=0.1), "restarts": 2, "progress": False}
        >>> int(fit_potential(pot, x, value=x**2, **few).active_modes)  # a second gains nothing
        1
    """

    tolerance: float = 0.011
    gain: float = 1.2
    sharpness: float = 0.5

    def __post_init__(self) -> None:
        check_positive("tolerance", self.tolerance)
        check_positive("sharpness", self.sharpness)
        if not check_positive("gain", self.gain) > 1:
            raise ValueError(f"gain must be more than 1, but got {self.gain}")


def fit_potential(
    pot: LSEICNN,
    x: Any,
    value: Any = None,
    gradient: Any = None,
    *,
    value_weight: Any = 1.0,
    gradient_weight: Any = 1.0,
    discovery: FewestModes | None = FewestModes(),
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

    The loss is the sum of the mean squared errors of what is given, each divided by the mean
    square of its target, so that an error is a share of the target's spread (paper Eq. 7 and 15
    without the penalty on alpha). The number of modes is found by ``discovery``. ``pot`` itself
    stays as it is.

    Args:
        pot: how many modes at most, their networks, rho to start from; its batch shape (*batch)
            holds independent fits. A rho or gates that need no gradient keep their values;
            parameters of networks can be kept with ``restarts=0`` and ``standardise=False`` alone.
        x: points (n, dim) or (n,); or (n, *batch, dim) with other points for each fit.
        value: y, (n,) or (n, *batch).
        gradient: g, (n, dim) or (n, *batch, dim): of forces, minus the force; of a gradient flow,
            minus the rates, for which there is :func:`lse_vi.rates_from_trajectories`. Without
            values the offset of E is free; the lowest point of the data is put at 0.
        value_weight: weight of the values in the loss, a number or (*batch,).
        gradient_weight: weights of the gradient's components, a number, (dim,) or (*batch, dim).
            E keeps one scale: weights change what is fitted well, not what is fitted.
        discovery: None to fit all the modes of ``pot``.
        solver: :class:`LevenbergMarquardt` or :class:`Adam`; its steps are those for each number
            of modes.
        standardise: False to fit in the units given, with plain mean squared errors.
        held_out: share of the points on which the fit is stopped early and judged.
        restarts: random starts (modes on clusters of the points) for each number of modes, in one
            batch; 0 goes on from the parameters of ``pot``, without ``discovery``.
        polish: at most so many further steps for the best restart.
        seed: for the starts and the held-out share; the global random state is left alone.
        progress: show a bar with the loss.
        checkpoint: a file to write during the fit; an interrupted fit called again with the same
            arguments goes on from it and ends where an uninterrupted one does.

    Raises:
        TypeError: for a pot, solver or discovery that is no such object.
        ValueError: for shapes that disagree and data that are not finite, constant or too few.
        NonFiniteLossError: when the loss stops being finite, with the last good state.

    Example:
        >>> x = torch.linspace(-2, 2, 100)
        >>> y = (x**2 - 1) ** 2
        >>> res = fit_potential(LSEICNN(1, 4, hidden=(5,)), x, value=y, progress=False)
        >>> len(res.minima.points)
        2
    """
    if not isinstance(pot, LSEICNN):
        raise TypeError(f"pot must be an LSEICNN, but got {pot!r}")
    if not isinstance(discovery, FewestModes | None):
        raise TypeError(f"discovery must be FewestModes() or None, but got {discovery!r}")
    check_object("solver", solver, "begin", "LevenbergMarquardt() or Adam()")
    check_count("seed", seed, minimum=0)
    check_count("restarts", restarts, minimum=0)
    check_count("polish", polish, minimum=0)
    if discovery is not None and restarts == 0:
        raise ValueError("restarts=0 goes on from pot and needs discovery=None")
    _check_frozen(pot, kept=restarts == 0 and not standardise)
    given = as_targets(pot, x, value, gradient, value_weight, gradient_weight)
    n_test = round(check_fraction("held_out", held_out) * len(given))
    n_train = len(given) - n_test
    if pot.modes > n_train:
        raise ValueError(
            f"pot must have at most as many modes as there are points to fit, {n_train}, "
            f"but has {pot.modes}"
        )
    settings = (discovery, solver, standardise, held_out, restarts, polish, seed)
    file = Checkpoint(
        checkpoint,
        lambda: {
            "data": given.digest(),
            "pot": f"{pot.extra_repr()} {digest(pot.state_dict().values())}",
            "settings": repr(settings),
        },
    )
    scaling = scaling_of(given) if standardise else no_scaling(given)
    targets = scaling.standardise(given) if standardise else given
    device = given.x.device
    with fork_random_state(device):
        like = _blank(pot, pot.modes)
        if not pot.log_rho.requires_grad:  # to be what it is in the units given
            like.log_rho.add_(scaling.height.log())
        search = ModeSearch(file, math.log(discovery.gain) if discovery else 0.0, device)
        reseed(seed, device)
        order = torch.randperm(len(given)).to(device)
        test, train = targets[order[:n_test]], targets[order[n_test:]]
        descend = partial(
            _descend, solver=solver, train=train, test=test, search=search, progress=progress
        )
        try:
            numbers = range(1, pot.modes + 1) if discovery else [pot.modes]
            for modes in numbers[len(search.done) :]:
                if discovery and _enough(search, discovery):
                    break
                start = _blank(like, modes, batch_shape=(max(restarts, 1), *pot.batch_shape))
                if restarts:
                    reseed(seed, device)
                    start_on_clusters(start, train.x, seed)
                else:
                    start.load_state_dict(_lift(pot.state_dict()))
                    scaling.apply_(start)
                search.add(descend(start, f"{modes} modes", solver.steps, discovery))
            for modes in range(len(search.done) - 1, 1, -1):
                if discovery and bool((search.best() == modes).any()):  # found to need one more
                    more = _blank(like, modes + 1)
                    more.load_state_dict(search.done[modes].state)
                    title = f"{modes} of {modes + 1} modes"
                    search.improve(descend(_without_each(more), title, solver.steps, discovery))
            if discovery:
                best = search.assemble(partial(_blank, like))
            else:
                best = _blank(like, pot.modes)
                best.load_state_dict(search.done[0].state)
            runs = [candidate.history for candidate in search.done]
            if polish:
                start = _blank(like, best.modes, batch_shape=(1, *pot.batch_shape))
                start.load_state_dict(_lift(best.state_dict()))
                last = descend(start, "polish", polish, None)
                best.load_state_dict(last.state)
                runs.append(last.history)
        except NonFiniteLossError as failure:
            scaling.restore_(failure.potential)
            raise
    scaling.restore_(best)
    lifted, shares = best.with_parameters(_lift(best.state_dict())), given.in_shares()
    with torch.no_grad():
        error, held_out_error = (
            shares[rows].loss(lifted)[0].sqrt() for rows in (order[n_test:], order[:n_test])
        )
    if given.value is None:
        with torch.no_grad():
            best.add_offset_(-best(given.x).amin(0))
    return PotentialFit(
        potential=best,
        active_modes=best.active_modes(given.x).sum(-1),
        error=error,
        held_out_error=held_out_error if n_test else torch.full_like(error, torch.nan),
        history=_join(runs),
        points=given.x,
    )


def paper_recipe(steps: int = 150_000) -> dict[str, Any]:
    """The paper's fit as it is printed, to compare with: arguments for :func:`fit_potential`.

    Adam at 1e-3 (1e-4 for alpha and rho) on the plain mean squared error of all points, with the
    penalty 1e-4 sum |alpha_k|, from the parameters that the potential was made with. It closes no
    gate: the penalty stops at alpha = 0, where a gate is 4.5e-5, above the paper's own threshold
    of 1e-6 for an active mode. The result counts modes by responsibility as ever.

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


def _check_frozen(pot: LSEICNN, *, kept: bool) -> None:
    """Starts and units write over the networks, so a network with frozen parameters is refused."""
    frozen = [name for name, p in pot.network.named_parameters() if not p.requires_grad]
    if frozen and not kept:
        raise ValueError(
            f"pot: its network must have all parameters trainable, but {', '.join(frozen)} need no "
            "gradient; call pot.network.requires_grad_(), or keep them by restarts=0 and "
            "standardise=False"
        )


def _blank(pot: LSEICNN, modes: int, *, batch_shape: Sequence[int] | None = None) -> LSEICNN:
    """A potential as ``pot``, of other modes and batch shape: its rho, its gates, what it trains.

    The batch shape must end in that of ``pot``.
    """
    one = LSEICNN(
        pot.dim, modes, hidden=pot.hidden, network=type(pot.network),
        batch_shape=pot.batch_shape if batch_shape is None else batch_shape,
        dtype=pot.alpha.dtype, device=pot.alpha.device,
    )  # fmt: skip
    with torch.no_grad():
        one.log_rho.copy_(pot.log_rho)
        one.alpha.copy_(pot.alpha[..., :modes])
    for own, model in zip(one.parameters(), pot.parameters(), strict=True):
        own.requires_grad_(model.requires_grad)
    return one


def _without_each(pot: LSEICNN) -> LSEICNN:
    """Each mode left out in turn: batch shape (modes, *batch), one mode less."""
    states = []
    for k in range(pot.modes):
        keep = torch.ones_like(pot.alpha, dtype=torch.bool)
        keep[..., k] = False
        states.append(pot.prune(keep).state_dict())
    start = _blank(pot, pot.modes - 1, batch_shape=(pot.modes, *pot.batch_shape))
    start.load_state_dict({name: torch.stack([s[name] for s in states]) for name in states[0]})
    return start


def _lift(state: Mapping[str, Tensor]) -> State:
    """The state of a batch of one restart."""
    return {name: p.unsqueeze(0) for name, p in state.items()}


def _enough(search: ModeSearch, discovery: FewestModes) -> bool:
    """Has every member of the batch met the tolerance, or not gained by two more modes?"""
    if not search.done:
        return False
    met = torch.stack([c.objective for c in search.done]).amax(0) >= -math.log(discovery.tolerance)
    return bool((met | (search.best() < len(search.done) - 2)).all())


def _descend(
    pot: LSEICNN,
    title: str,
    steps: int,
    discovery: FewestModes | None,
    *,
    solver: Solver,
    train: Targets,
    test: Targets,
    search: ModeSearch,
    progress: bool,
) -> Candidate:
    """All restarts at once; goes on from the search's run if there is one."""
    share = len(test) / (len(train) + len(test))
    descent = solver.begin(pot, train, min_rho=discovery.sharpness if discovery else 0.0)
    saved = search.run if search.run and search.run["title"] == title else None
    run: dict[str, Any] = saved or {
        "title": title,
        "step": 0,
        "best": snapshot(pot),
        "score": torch.full_like(pot.log_rho.detach(), torch.inf),  # of the best state
        "error": torch.full_like(pot.log_rho.detach(), torch.inf),  # its error on all points
        "mark": torch.full_like(pot.log_rho[0].detach(), torch.inf),  # the last score that counted
        "stale": 0,
        "history": {key: [] for key in HISTORY},
    }
    if saved:
        pot.load_state_dict(run["pot"])
        descent.load_state_dict(run["descent"])
    bar = tqdm(
        range(run["step"], steps), title, initial=run["step"], total=steps, disable=not progress
    )  # fmt: skip
    for step in bar:
        loss = descent.step()
        if not bool(torch.isfinite(loss).all()):
            pot.load_state_dict(run["best"])
            raise NonFiniteLossError(step, pot)
        if (step + 1) % solver.check_every and step + 1 < steps:
            continue
        with torch.no_grad():
            fitted = train.loss(pot).sqrt()
            unseen = test.loss(pot).sqrt() if len(test) else torch.full_like(fitted, torch.nan)
        score = torch.fmax(fitted, unseen)  # (restarts, *batch): fits, and does not overfit
        better = score < run["score"]
        run["best"] = replace_where(better, snapshot(pot), run["best"])
        run["score"] = torch.where(better, score, run["score"])
        everywhere = ((1 - share) * fitted.square() + share * unseen.nan_to_num().square()).sqrt()
        run["error"] = torch.where(better, everywhere, run["error"])
        lowest = run["score"].amin(0)
        run["stale"] = 0 if bool((lowest < 0.99 * run["mark"]).any()) else run["stale"] + 1
        run["mark"] = torch.where(lowest < 0.99 * run["mark"], lowest, run["mark"])
        _record(run["history"], step + 1, pot, train, fitted, unseen, score)
        bar.set_postfix(error=f"{float(lowest.max()):.2e}", refresh=False)
        if run["stale"] >= solver.patience:
            break
        run |= {"step": step + 1, "pot": pot.state_dict(), "descent": descent.state_dict()}
        search.save(run)
    winner = run["score"].argmin(0)
    error = run["error"].gather(0, winner.unsqueeze(0)).squeeze(0)
    objective = -error.clamp_min(discovery.tolerance if discovery else 0.0).log()
    return Candidate(pot.modes, take_first(run["best"], winner), objective, run["history"])


def _record(
    history: dict[str, list[Any]],
    step: int,
    pot: LSEICNN,
    train: Targets,
    fitted: Tensor,
    unseen: Tensor,
    score: Tensor,
) -> None:
    """Add a look at the best restart to the history."""
    with torch.no_grad():
        shares = pot.responsibilities(train.x.unsqueeze(1)).mean(0)  # (restarts, *batch, modes)
    seen = {
        "loss": fitted.square(),
        "held_out": unseen.square(),
        "active_modes": (shares > ACTIVE).sum(-1),
        "rho": pot.rho,
        "gates": pot.gates,
        "shares": shares,
    }
    history["step"].append(step)
    best = take_first({key: entry.detach() for key, entry in seen.items()}, score.argmin(0))
    for key, entry in best.items():
        history[key].append(entry.tolist())


def _join(runs: list[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    """Histories end to end, their steps counted on."""
    joined = {key: [entry for run in runs for entry in run[key]] for key in HISTORY}
    lasts = [run["step"][-1] for run in runs]
    joined["step"] = [sum(lasts[:i]) + step for i, run in enumerate(runs) for step in run["step"]]
    return joined
