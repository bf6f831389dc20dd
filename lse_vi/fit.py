"""Fits of a density to data: one visible loop, every restart and every data set in one batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from lse_vi.checkpoint import Checkpoint
from lse_vi.checks import (
    as_data,
    check_count,
    check_finite,
    check_fraction,
    check_number,
    check_positive,
)
from lse_vi.density import LSEDensity
from lse_vi.icnn import ICNN, WhitenedICNN
from lse_vi.mode_search import Candidate, ModeSearch
from lse_vi.normalize import Method, Quadrature, Rule, default_method
from lse_vi.potential import LSEICNN
from lse_vi.prior import log_prior
from lse_vi.starts import start_on_clusters
from lse_vi.states import replace_where, snapshot, take_first
from lse_vi.support import Box

REFRESH = 50  # steps between integration rules, held-out checks and checkpoints
PATIENCE = 4  # checks without a better held-out loss before a fit stops
SPARE = 1e-6  # a mode of less mass carries nothing


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


@dataclass
class FitResult:
    """What :func:`fit_density` found; prints as a table of modes.

    Attributes:
        density: the fitted :class:`LSEDensity`, batch shape (*batch,). Its parameters are frozen;
            ``density.potential.requires_grad_()`` makes them trainable again.
        active_modes: number of modes that carry data, (*batch,).
        mode_weights: mass of each mode, (*batch, modes).
        mode_locations: mean of each mode under q, (*batch, modes, dim).
        log_likelihood: mean log density of the data, (*batch,), in nats per point.
        history: lists ``step``, ``loss``, ``held_out``, ``active_modes``, for
            :func:`lse_vi.plots.plot_history`.

    Example:
        >>> x = torch.cat([torch.randn(60) - 4, torch.randn(60) + 4])
        >>> res = fit_density(x, modes=1, steps=50, progress=False)
        >>> res.mode_weights.shape, res.mode_locations.shape
        (torch.Size([1]), torch.Size([1, 1]))
    """

    density: LSEDensity
    active_modes: Tensor
    mode_weights: Tensor
    mode_locations: Tensor
    log_likelihood: Tensor
    history: dict[str, list[float]] = field(repr=False)

    def __str__(self) -> str:
        lines = [f"fit of {self.density}"]
        batch = self.active_modes.shape
        for index in np.ndindex(*batch):
            where = f"[{', '.join(map(str, index))}] " if batch else ""
            lines.append(
                f"{where}{int(self.active_modes[index])} modes, log-likelihood "
                f"{float(self.log_likelihood[index]):.4f} nats per point"
            )
            weights, locations = self.mode_weights[index], self.mode_locations[index]
            for k in weights.argsort(descending=True).tolist():
                if weights[k] > 1e-3:
                    at = ", ".join(f"{v:.4g}" for v in locations[k].tolist())
                    lines.append(f"    weight {float(weights[k]):.3f}  mean ({at})")
        return "\n".join(lines)


def fit_density(
    x: Any,
    *,
    modes: int = 5,
    bounds: Any = None,
    hidden: Sequence[int] = (10, 10),
    network: type[ICNN | WhitenedICNN] = WhitenedICNN,
    learn_rho: bool | None = None,
    mode_penalty: float | None = None,
    held_out: float = 0.1,
    restarts: int = 4,
    steps: int = 600,
    learning_rate: float = 0.03,
    method: Method | None = None,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> FitResult:
    r"""Fit an LSE-ICNN density to data by penalised maximum likelihood, counting the modes.

    For K = 1, 2, ... the fit maximises, over the data and a weakly informative prior,

    .. math:: \sum_i \log q(x_i; \theta) + \log p(\theta) - \lambda K,

    and keeps the best K; it stops when two more modes have not helped. The penalty per mode makes
    spare modes die: gates cannot, since s_k and f_k trade off against each other.

    Args:
        x: data (n, dim) or (n,); or (n, *batch, dim) for a batch of data sets fitted at once.
            Counts that take only a few values are better spread over their cells first,
            ``x + rand - 1/2``: each value that many points share is a mode of its own.
        modes: the largest number of modes to try.
        bounds: (low, high) of the support, each a number or ``dim`` numbers; None for R^d.
        hidden: widths of the hidden layers of each mode; () makes a Gaussian mixture.
        network: strongly convex modes by default; ``ICNN`` for the paper's plain ones.
        learn_rho: learn the sharpness rho, which shapes the passes between the modes. By default
            on a box in 1-2 dimensions; elsewhere rho stays 1, a mixture of log-concave densities.
        mode_penalty: lambda, in nats per mode; by default log(n)/2 for each of the
            1 + 2 dim + dim (dim + 1)/2 parameters of a mode (BIC): mass, mean, covariance, and a
            shape parameter per axis.
        held_out: share of the data on which the fit is stopped early; 0 to use all of it.
        restarts: random starts for each K, fitted in one batch.
        steps: Adam steps for each K, under a one-cycle schedule.
        learning_rate: its peak.
        method: how log Z is found during the fit, as in :class:`LSEDensity`.
        seed: for the starts and the held-out share; the global random state is left alone.
        progress: show a bar with the loss.
        checkpoint: a file to write every 50 steps; an interrupted fit called again with the same
            arguments goes on from it and ends where an uninterrupted one does.

    Raises:
        ValueError: for data that are empty, not finite, constant, too few or outside ``bounds``.
        NonFiniteLossError: when the loss stops being finite, with the last good state.

    Example:
        >>> x = torch.cat([torch.randn(100) - 4, torch.randn(100) + 4])
        >>> res = fit_density(x, modes=3, steps=150, restarts=1, progress=False)
        >>> int(res.active_modes)
        2
    """
    check_count("restarts", restarts)
    check_count("steps", steps)
    check_positive("learning_rate", learning_rate)
    data = _check_data(x)
    n, batch, dim = len(data), data.shape[1:-1], data.shape[-1]
    n_test = round(check_fraction("held_out", held_out) * n)
    _check_enough(n - n_test, dim, check_count("modes", modes))
    box = None if bounds is None else Box.of(bounds, dim, data)
    _check_inside(data, box)
    if learn_rho is None:
        learn_rho = box is not None and dim <= 2
    if mode_penalty is None:
        mode_penalty = 0.5 * math.log(n) * (1 + 2 * dim + dim * (dim + 1) / 2)
    if not check_number("mode_penalty", mode_penalty) >= 0:
        raise ValueError(f"mode_penalty must be at least 0, but got {mode_penalty}")

    # Standardised coordinates: one shift and scale for the whole batch.
    rows = data.reshape(-1, dim)
    shift, scale = rows.mean(0), rows.std(0)
    z = (data - shift) / scale
    unit_box = None if box is None else Box((box.low - shift) / scale, (box.high - shift) / scale)
    recipe = _Recipe(
        partial((method or _fit_method(dim)).rule, box=unit_box), steps, learning_rate, progress
    )
    file = Checkpoint(
        checkpoint,
        {
            "x": f"{tuple(data.shape)} {hashlib.sha256(data.cpu().numpy().tobytes()).hexdigest()}",
            "settings": repr((modes, bounds, tuple(hidden), network.__name__, learn_rho, method)),
            "schedule": repr((mode_penalty, held_out, restarts, steps, learning_rate, seed)),
        },
    )
    with torch.random.fork_rng(devices=[data.device] if data.is_cuda else []):
        blank = partial(
            LSEICNN, dim, hidden=hidden, network=network, dtype=data.dtype, device=data.device
        )
        LSEDensity(blank(1), bounds, method=method)  # refuses what cannot be normalised, early
        torch.manual_seed(seed)
        order = torch.randperm(n).to(data.device)
        test, train = z[order[:n_test]], z[order[n_test:]]
        search = ModeSearch(file, mode_penalty)
        while len(search.done) < modes and not search.stalled:
            pot = blank(
                len(search.done) + 1,
                batch_shape=(restarts, *batch),
                rho=0.3 if learn_rho else 1.0,
            )
            pot.log_rho.requires_grad_(learn_rho)
            start_on_clusters(pot, train, seed)
            try:
                search.add(_train(pot, train, test, recipe, search))
            except NonFiniteLossError as error:
                error.potential.network.compose_affine_(shift, scale)
                raise
        pot = search.assemble(blank)
    pot.network.compose_affine_(shift.expand(*batch, dim), scale.expand(*batch, dim))
    return _result(LSEDensity(pot, bounds, method=method), data, search.done)


@dataclass(frozen=True)
class _Recipe:
    """How every number of modes is trained."""

    rule_of: Callable[[LSEICNN], Rule]
    steps: int
    learning_rate: float
    progress: bool


def _check_data(x: Any) -> Tensor:
    """Data as a finite tensor (n, *batch, dim) that varies in every coordinate."""
    data = x.detach() if isinstance(x, Tensor) else torch.as_tensor(np.array(x))
    data = as_data("x", data) if data.dim() < 3 or data.numel() == 0 else data
    data = data if data.is_floating_point() else data.to(torch.get_default_dtype())
    check_finite("x", data)
    constant = (data.amax(0) == data.amin(0)).reshape(-1, data.shape[-1]).any(0)
    if len(data) > 1 and bool(constant.any()):
        columns = constant.nonzero().flatten().tolist()
        raise ValueError(
            f"x is constant in column {columns}: a density needs spread in every coordinate; "
            "drop that column"
        )
    return data


def _check_enough(n: int, dim: int, modes: int) -> None:
    minimum = 2 * (dim + 1)
    if n < minimum:
        raise ValueError(
            f"x needs at least {minimum} points for {dim} dimensions, besides those held out, "
            f"but got {n}"
        )
    if modes > n:
        raise ValueError(f"modes must be at most the {n} points that are fitted, but got {modes}")


def _check_inside(data: Tensor, box: Box | None) -> None:
    outside = 0 if box is None else int((~box.contains(data)).sum())
    if box is not None and outside:
        raise ValueError(
            f"bounds: {outside} of the {data[..., 0].numel()} points lie outside "
            f"low={box.low.tolist()}, high={box.high.tolist()}"
        )


def _fit_method(dim: int) -> Method:
    """The rule during a fit: coarser than the density's own, which is for reported numbers."""
    return Quadrature(tolerance=1e-4, panels=8 // dim**2) if dim <= 2 else default_method(dim)


def _train(
    pot: LSEICNN, train: Tensor, test: Tensor, recipe: _Recipe, search: ModeSearch
) -> Candidate:
    """Adam on every restart at once; goes on from the search's run if there is one."""
    n, steps, lead = len(train), recipe.steps, pot.batch_shape  # (restarts, *batch)
    train = train.unsqueeze(1).expand(-1, *lead, -1)
    test = test.unsqueeze(1)
    optimiser = torch.optim.Adam([p for p in pot.parameters() if p.requires_grad])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.1
    )
    parts: dict[str, Any] = {"pot": pot, "optimiser": optimiser, "schedule": schedule}
    run: dict[str, Any] = search.run or {
        "step": 0,
        "best": snapshot(pot),
        "score": torch.full_like(pot.log_rho, torch.inf),  # held-out loss of the best state
        "objective": torch.full_like(pot.log_rho, -torch.inf),  # the largest so far
        "stale": 0,
        "history": {"step": [], "loss": [], "held_out": [], "active_modes": []},
    }
    if search.run:
        for name, part in parts.items():
            part.load_state_dict(run[name])
        torch.set_rng_state(search.rng)
    history = run["history"]
    title = f"{pot.modes} mode{'s' if pot.modes > 1 else ''}"
    bar = tqdm(
        range(run["step"], steps), title, initial=run["step"], total=steps,
        disable=not recipe.progress,
    )  # fmt: skip
    for step in bar:
        if step % REFRESH == 0:
            rule = recipe.rule_of(pot)
        optimiser.zero_grad()
        energies, nodes = pot(torch.cat([train, rule.points.expand(-1, *lead, -1)])).split(
            [n, len(rule.points)]
        )  # in one pass through the network
        log_z = torch.logsumexp(rule.log_weights - nodes, dim=0)
        objective = log_prior(pot) - energies.sum(0) - n * log_z  # (restarts, *batch)
        loss = -objective.sum() / n
        loss.backward()
        if not _finite(loss, pot):
            pot.load_state_dict(run["best"])
            raise NonFiniteLossError(step, pot)
        optimiser.step()
        schedule.step()

        if (step + 1) % REFRESH == 0 or step + 1 == steps:
            with torch.no_grad():
                score = pot(test).mean(0) + rule.log_normalizer(pot) if len(test) else -objective
            better = score < run["score"] if len(test) else torch.ones_like(score, dtype=torch.bool)
            run["best"] = replace_where(better, snapshot(pot), run["best"])
            run["score"] = torch.where(better, score, run["score"])
            run["objective"] = torch.maximum(objective.detach(), run["objective"])
            run["stale"] = 0 if bool(better.any()) else run["stale"] + 1
            history["step"].append(step + 1)
            history["loss"].append(float((-objective.detach() / n).amin(0).mean()))
            history["held_out"].append(float(score.amin(0).mean()) if len(test) else math.nan)
            history["active_modes"].append(pot.modes)
            bar.set_postfix(loss=f"{history['loss'][-1]:.4f}", refresh=False)
            if run["stale"] >= PATIENCE:
                break
            run["step"] = step + 1
            run |= {name: part.state_dict() for name, part in parts.items()}
            search.save(run)

    # The state is the best on held-out data, but modes are counted where the objective was
    # largest: where early stopping happens to land may be tens of nats below that.
    winner = run["score"].argmin(0)
    top = run["objective"].gather(0, winner.unsqueeze(0)).squeeze(0)
    return Candidate(pot.modes, take_first(run["best"], winner), top, history)


def _finite(loss: Tensor, pot: LSEICNN) -> bool:
    """Are the loss and its gradient finite?"""
    total = loss.detach() + sum(p.grad.abs().sum() for p in pot.parameters() if p.grad is not None)
    return bool(torch.isfinite(total))


@torch.no_grad()
def _result(density: LSEDensity, data: Tensor, done: list[Candidate]) -> FitResult:
    pot, rule = density.potential.requires_grad_(False), density.rule
    mass = rule.probabilities(pot).unsqueeze(-1) * pot.responsibilities(rule.points)
    weights = mass.sum(0)  # (*batch, modes)
    locations = (mass.unsqueeze(-1) * rule.points.unsqueeze(-2)).sum(0) / weights.unsqueeze(-1)
    spare = (weights < SPARE).unsqueeze(-1)
    history = {key: [v for fit in done for v in fit.history[key]] for key in done[0].history}
    lasts = [fit.history["step"][-1] for fit in done]
    starts = [sum(lasts[:k]) for k in range(len(done))]
    history["step"] = [
        start + step
        for start, fit in zip(starts, done, strict=True)
        for step in fit.history["step"]
    ]
    return FitResult(
        density=density,
        active_modes=pot.active_modes(data).sum(-1),
        mode_weights=weights,
        mode_locations=locations.masked_fill(spare, torch.nan),
        log_likelihood=density.log_prob(data).mean(0),
        history=history,
    )
