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
from scipy.cluster.vq import kmeans2
from torch import Tensor
from tqdm.auto import tqdm

from lse_vi.checkpoint import Checkpoint
from lse_vi.checks import as_data, check_count, check_finite, check_fraction, check_positive
from lse_vi.density import LSEDensity
from lse_vi.icnn import ICNN, WhitenedICNN
from lse_vi.normalize import Method, Rule, default_method
from lse_vi.potential import CLOSED_GATE, LSEICNN
from lse_vi.prior import log_prior
from lse_vi.support import Box

REFRESH = 50  # steps between integration rules, held-out checks and checkpoints
PATIENCE = 4  # checks without a better held-out loss before a fit stops


class NonFiniteLossError(RuntimeError):
    """A fit met a loss that is not finite; ``potential`` is the last good state."""

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
        density: the fitted :class:`LSEDensity`, batch shape (*batch,).
        active_modes: number of modes that carry data, (*batch,).
        mode_weights: mass of each mode, (*batch, modes).
        mode_locations: mean of each mode under q, (*batch, modes, dim).
        log_likelihood: mean log density of the data, (*batch,), in nats per point.
        history: lists ``step``, ``loss``, ``held_out``, ``active_modes``, for
            :func:`lse_vi.plots.plot_history`.
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
    data = _check_data(x, held_out)
    n, batch, dim = len(data), data.shape[1:-1], data.shape[-1]
    box = None if bounds is None else Box.of(bounds, dim, data)
    if box is not None and not bool(box.contains(data).all()):
        outside = int((~box.contains(data)).sum())
        raise ValueError(
            f"bounds: {outside} of the {n} points lie outside low={box.low.tolist()}, "
            f"high={box.high.tolist()}"
        )
    if learn_rho is None:
        learn_rho = box is not None and dim <= 2
    if mode_penalty is None:
        mode_penalty = 0.5 * math.log(n) * (1 + 2 * dim + dim * (dim + 1) / 2)
    check_count("modes", modes), check_count("restarts", restarts), check_count("steps", steps)
    check_positive("learning_rate", learning_rate)

    # Standardised coordinates: one shift and scale for the whole batch.
    rows = data.reshape(-1, dim)
    shift, scale = rows.mean(0), rows.std(0)
    z = (data - shift) / scale
    unit_box = None if box is None else Box((box.low - shift) / scale, (box.high - shift) / scale)
    rule_of = partial((method or default_method(dim)).rule, box=unit_box)

    file = Checkpoint(
        checkpoint,
        {
            "x": hashlib.sha256(data.cpu().numpy().tobytes()).hexdigest(),
            "settings": repr((modes, bounds, tuple(hidden), network.__name__, learn_rho, method)),
            "schedule": repr((mode_penalty, held_out, restarts, steps, learning_rate, seed)),
        },
    )
    saved = file.load() or {"done": [], "run": None}
    done: list[dict[str, Any]] = saved["done"]  # the best fit with 1, 2, ... modes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        order = torch.randperm(n).to(data.device)
        test, train = z[order[: round(held_out * n)]], z[order[round(held_out * n) :]]
        while len(done) < modes and not _stalled(done, mode_penalty):
            pot = LSEICNN(
                dim, len(done) + 1, hidden=hidden, batch_shape=(restarts, *batch), network=network,
                rho=0.3 if learn_rho else 1.0, dtype=data.dtype, device=data.device,
            )  # fmt: skip
            pot.log_rho.requires_grad_(learn_rho)
            _start(pot, train, seed)
            keep = partial(_keep, file, done)
            done.append(
                _train(
                    pot, train, test, rule_of, steps, learning_rate, progress, saved["run"], keep
                )
            )
            saved["run"] = None
            file.save({"done": done, "run": None})

    pot = _assemble(done, mode_penalty, dim, hidden, network)
    pot.network.compose_affine_(shift.expand(*batch, dim), scale.expand(*batch, dim))
    return _result(LSEDensity(pot, bounds, method=method), data, done)


def _check_data(x: Any, held_out: float) -> Tensor:
    """Data as a finite tensor (n, *batch, dim) that varies in every coordinate."""
    check_fraction("held_out", held_out)
    data = torch.as_tensor(x) if not isinstance(x, Tensor) else x.detach()
    data = data if data.dim() > 2 else as_data("x", data)
    data = data if data.is_floating_point() else data.to(torch.get_default_dtype())
    check_finite("x", data)
    dim, minimum = data.shape[-1], 2 * (data.shape[-1] + 1)
    if data.numel() == 0 or len(data) < minimum:
        raise ValueError(
            f"x needs at least {minimum} points for {dim} dimensions, but got {len(data)}"
        )
    constant = (data.amax(0) == data.amin(0)).reshape(-1, dim).any(0)
    if bool(constant.any()):
        columns = constant.nonzero().flatten().tolist()
        raise ValueError(
            f"x is constant in column {columns}: a density needs spread in every coordinate; "
            "drop that column"
        )
    return data


@torch.no_grad()
def _start(pot: LSEICNN, x: Tensor, seed: int) -> None:
    """Put the modes of every restart on the clusters of its data (k-means++)."""
    lead, dim = pot.alpha.shape, pot.dim
    rng = np.random.default_rng(seed)
    points = x.reshape(len(x), -1, dim).cpu().numpy()  # (n, batch, dim)
    centers = np.empty((lead[0], points.shape[1], pot.modes, dim))
    spreads = np.empty((*centers.shape, dim))
    for r, b in np.ndindex(*centers.shape[:2]):
        centers[r, b], label = kmeans2(
            points[:, b], pot.modes, minit="++", seed=rng, missing="warn"
        )
        for k in range(pot.modes):
            own = points[label == k, b]
            cov = (
                np.cov(own.T, ddof=0).reshape(dim, dim)
                if len(own) > dim + 1
                else np.zeros((dim, dim))
            )
            # A floor of 3% of the data's spread keeps a cluster of equal points from a spike.
            spreads[r, b, k] = np.linalg.inv(np.linalg.cholesky(cov + 1e-3 * np.eye(dim)))
    like = pot.alpha
    pot.network.reset_parameters(
        torch.as_tensor(centers).to(like).reshape(*lead, dim),
        torch.as_tensor(spreads).to(like).reshape(*lead, dim, dim),
    )


def _train(
    pot: LSEICNN,
    train: Tensor,
    test: Tensor,
    rule_of: Callable[[LSEICNN], Rule],
    steps: int,
    learning_rate: float,
    progress: bool,
    saved: dict[str, Any] | None,
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Adam on every restart at once. The result: the best restart for each data set."""
    n = len(train)
    train, test = train.unsqueeze(1), test.unsqueeze(1)  # an axis for the restarts
    optimiser = torch.optim.Adam([p for p in pot.parameters() if p.requires_grad])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, learning_rate, total_steps=steps, pct_start=0.1
    )
    run: dict[str, Any] = saved or {
        "step": 0,
        "best": _snapshot(pot),
        "score": torch.full_like(pot.log_rho, torch.inf),  # held-out loss of the best state
        "stale": 0,
        "history": {"step": [], "loss": [], "held_out": [], "modes": []},
    }
    if saved is not None:
        pot.load_state_dict(run["pot"])
        optimiser.load_state_dict(run["optimiser"])
        schedule.load_state_dict(run["schedule"])
        torch.set_rng_state(run["rng"])
    history = run["history"]

    name = f"{pot.modes} mode{'s' if pot.modes > 1 else ''}"
    bar = tqdm(
        range(run["step"], steps), name, initial=run["step"], total=steps, disable=not progress
    )
    for step in bar:
        if step % REFRESH == 0:
            rule = rule_of(pot)
        optimiser.zero_grad()
        log_z = rule.log_normalizer(pot)
        objective = log_prior(pot) - pot(train).sum(0) - n * log_z  # (restarts, *batch)
        loss = -objective.sum() / n
        if not bool(torch.isfinite(loss)):
            pot.load_state_dict(run["best"])
            raise NonFiniteLossError(step, pot)
        loss.backward()
        optimiser.step()
        schedule.step()

        if (step + 1) % REFRESH == 0 or step + 1 == steps:
            with torch.no_grad():
                score = pot(test).mean(0) + rule.log_normalizer(pot) if len(test) else -objective
            better = score < run["score"] if len(test) else torch.ones_like(score, dtype=torch.bool)
            run["best"] = {
                name: torch.where(_align(better, p), p, run["best"][name])
                for name, p in _snapshot(pot).items()
            }
            run["score"] = torch.where(better, score, run["score"])
            run["stale"] = 0 if bool(better.any()) else run["stale"] + 1
            history["step"].append(step + 1)
            history["loss"].append(float((-objective.detach() / n).amin(0).mean()))
            history["held_out"].append(float(score.amin(0).mean()) if len(test) else math.nan)
            history["modes"].append(pot.modes)
            bar.set_postfix(loss=f"{history['loss'][-1]:.4f}", refresh=False)
            if run["stale"] >= PATIENCE:
                break
            run |= {
                "step": step + 1, "pot": pot.state_dict(), "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(), "rng": torch.get_rng_state(),
            }  # fmt: skip
            keep(run)

    pot.load_state_dict(run["best"])
    with torch.no_grad():
        objective = log_prior(pot) - pot(train).sum(0) - n * rule_of(pot).log_normalizer(pot)
    winner = (run["score"].argmin(0) if len(test) else objective.argmax(0)).unsqueeze(0)
    return {
        "modes": pot.modes,
        "state": {
            name: torch.take_along_dim(p, _align(winner, p), 0).squeeze(0)
            for name, p in run["best"].items()
        },
        "objective": objective.gather(0, winner).squeeze(0),
        "history": history,
    }


def _keep(file: Checkpoint, done: list[dict[str, Any]], run: dict[str, Any]) -> None:
    file.save({"done": done, "run": run})


def _snapshot(pot: LSEICNN) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in pot.state_dict().items()}


def _align(small: Tensor, large: Tensor) -> Tensor:
    """``small`` with trailing axes added, to broadcast over the parameters of each potential."""
    return small.reshape(small.shape + (1,) * (large.dim() - small.dim()))


def _criteria(done: list[dict[str, Any]], mode_penalty: float) -> Tensor:
    """The penalised objective of every K so far: (K, *batch)."""
    return torch.stack([fit["objective"] - mode_penalty * fit["modes"] for fit in done])


def _stalled(done: list[dict[str, Any]], mode_penalty: float) -> bool:
    """Have the last two numbers of modes helped no data set of the batch?"""
    if len(done) < 3:
        return False
    return bool((_criteria(done, mode_penalty).argmax(0) < len(done) - 2).all())


def _assemble(
    done: list[dict[str, Any]],
    mode_penalty: float,
    dim: int,
    hidden: Sequence[int],
    network: type[ICNN | WhitenedICNN],
) -> LSEICNN:
    """One batched potential from the best K of each data set; spare modes have closed gates."""
    choice = _criteria(done, mode_penalty).argmax(0)  # (*batch,)
    most = int(choice.max()) + 1
    alpha = done[most - 1]["state"]["alpha"]
    pot = LSEICNN(
        dim, most, hidden=hidden, batch_shape=choice.shape, network=network,
        dtype=alpha.dtype, device=alpha.device,
    )  # fmt: skip
    depth = choice.dim()
    state = _snapshot(pot)
    state["alpha"].fill_(CLOSED_GATE)
    for k in range(most):
        mine = choice == k
        for name, p in done[k]["state"].items():
            if name == "log_rho":
                state[name][mine] = p[mine]
            else:
                state[name].narrow(depth, 0, k + 1)[mine] = p[mine]
    pot.load_state_dict(state)
    return pot


@torch.no_grad()
def _result(density: LSEDensity, data: Tensor, done: list[dict[str, Any]]) -> FitResult:
    pot, rule = density.potential, density.rule
    mass = rule.probabilities(pot).unsqueeze(-1) * pot.responsibilities(rule.points)
    weights = mass.sum(0)
    locations = (mass.unsqueeze(-1) * rule.points.unsqueeze(-2)).sum(0) / weights.unsqueeze(-1)
    history = {key: [v for fit in done for v in fit["history"][key]] for key in done[0]["history"]}
    history["step"] = [(i + 1) * REFRESH for i in range(len(history["step"]))]
    return FitResult(
        density=density,
        active_modes=pot.active_modes(data).sum(-1),
        mode_weights=weights,
        mode_locations=locations,
        log_likelihood=density.log_prob(data).mean(0),
        history=history,
    )
