"""Waddington: two learned landscapes of a pair of genes, and one that turns into the other.

``python -m models waddington [--seed 0] [--out results/waddington]`` (Fig. 12 and 13)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import bisect
from sklearn.metrics import r2_score
from torch import Tensor

from data_gen import waddington
from data_gen.truth import PotentialTruth
from lse_vi import (
    LSEICNN,
    Blend,
    basins,
    fit_potential,
    gradient_flow,
    rates_from_trajectories,
    stationary_points,
)
from lse_vi.landscapes import StationaryPoints
from models import waddington_figure
from models.command import Metrics, run_study

STRENGTHS = (0.1, 1.0)
TRUTHS = (waddington.ONE_WELL, waddington.TWO_WELLS)
POINTS = 400  # states in [0, 2.5]^2 with their rates
STARTS = 1000  # whose basins are compared
END = 14.0  # of the blend


def blank() -> LSEICNN:
    """The paper's size: 3 modes, three hidden layers of 8."""
    return LSEICNN(2, 3, hidden=(8, 8, 8))


class Landscapes(NamedTuple):
    """What was learned for b = 0.1 and b = 1."""

    potentials: list[LSEICNN]
    stationary: list[StationaryPoints]


def grid(n: int) -> Tensor:
    """An n x n grid over [0, 2.5]^2: (n * n, 2)."""
    axes = [torch.linspace(low, high, n) for low, high in waddington.BOUNDS.tolist()]
    return torch.cartesian_prod(*axes)


def learn(seed: int) -> Landscapes:
    """Fit each landscape to the rates at random states: grad E = -dx/dt."""
    rng, potentials = np.random.default_rng(seed), []
    for b in STRENGTHS:
        x = rng.uniform(0.0, 2.5, size=(POINTS, 2))
        rates = -waddington.gradient(x, b)
        fit = fit_potential(blank(), x, gradient=-rates, discovery=None, restarts=2, seed=seed)
        potentials.append(fit.potential.requires_grad_(False))
    return Landscapes(potentials, [stationary_points(pot, grid(15)) for pot in potentials])


def learn_from_paths(seed: int, b: float) -> LSEICNN:
    """The same from paths x(t) alone, by the rates of splines through them."""
    times = np.linspace(0, 1, 21)
    x, rates = rates_from_trajectories(times, waddington.trajectories(b, times, 60, seed))
    some = slice(None, None, 2)  # 510 of them are plenty
    fit = fit_potential(
        blank(), x[some], gradient=-rates[some], discovery=None, restarts=2, seed=seed
    )
    return fit.potential.requires_grad_(False)


def field_r2(pot: LSEICNN, b: float) -> float:
    """Share of the variance of grad Xi explained, over a 51 x 51 grid that was not fitted."""
    x = grid(51)
    exact = waddington.gradient(x.numpy(), b)
    return float(r2_score(exact, pot.gradient(x), multioutput="variance_weighted"))


def stationary_errors(found: StationaryPoints, truth: PotentialTruth) -> list[float]:
    """Distance from each true stationary point to the nearest one of its kind; inf without one.

    Each found point beyond the true number counts as infinitely far too.
    """
    errors = []
    for point in truth.stationary_points:
        same = found.points[[kind == point.kind for kind in found.kinds]]
        exact = torch.tensor([point.location])
        errors.append(float(torch.cdist(exact, same).min()) if len(same) else float("inf"))
    extra = len(found.kinds) - len(truth.stationary_points)
    return errors + [float("inf")] * max(extra, 0)


def wells(found: StationaryPoints) -> Tensor:
    """The minima among stationary points: (m, 2)."""
    return found.points[[kind == "minimum" for kind in found.kinds]]


def basin_accuracy(learned: Landscapes, seed: int) -> float:
    """Share of random starts that flow to the well of their side of x1 = x2, at b = 1."""
    generator = torch.Generator().manual_seed(seed + 1)
    x = 2.5 * torch.rand(STARTS, 2, generator=generator)
    minima = wells(learned.stationary[1])
    label = basins(learned.potentials[1], x, minima)
    reached = minima[label.clamp_min(0)]
    right = (reached[:, 0] > reached[:, 1]) == (x[:, 0] > x[:, 1])
    return float((right & (label >= 0)).double().mean())


def split_time(blend: Blend) -> float:
    """When the blended landscape gets its second well, to a thousandth of the unit of time."""
    ends = torch.tensor([point.location for point in waddington.TWO_WELLS.stationary_points[::2]])
    starts = torch.lerp(ends[0], ends[1], torch.linspace(-0.2, 1.2, 29).unsqueeze(-1))

    def second_well(t: float) -> float:
        return 1.0 if len(wells(stationary_points(blend.at(t), starts))) > 1 else -1.0

    return float(bisect(second_well, 0.0, END, xtol=1e-3))


def run(seed: int = 0, out: Path = Path("results/waddington")) -> Metrics:
    """The whole study; writes the figures to ``out`` and returns the metrics."""
    began = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    torch.set_default_dtype(torch.float64)
    learned = learn(seed)
    blend = Blend(
        learned.potentials[0], learned.potentials[1], weight=lambda t: float(waddington.blend(t))
    )
    found = zip(learned.stationary, TRUTHS, strict=True)
    metrics: Metrics = {
        "b": list(STRENGTHS),
        "r2_field": [field_r2(*pair) for pair in zip(learned.potentials, STRENGTHS, strict=True)],
        "r2_field_from_paths": field_r2(learn_from_paths(seed, 1.0), 1.0),
        "stationary_errors": [stationary_errors(*pair) for pair in found],
        "stationary_kinds": [list(points.kinds) for points in learned.stationary],
        "basin_accuracy": basin_accuracy(learned, seed),
        "split_time": split_time(blend),
        "split_time_exact": waddington.SPLIT_TIME,
        "seed": seed,
    }
    waddington_figure.landscapes(learned.potentials, learned.stationary, seed, out / "figure12.png")
    times = np.linspace(0, END, 141)
    starts = torch.as_tensor(waddington.trajectories(1.0, [0.0, 1.0], 24, seed)[0])
    waddington_figure.transient(
        times,
        gradient_flow(blend, starts, times).numpy(),
        waddington.flow(starts.numpy(), times, waddington.blended_b),
        metrics["split_time"],
        out / "figure13.png",
    )
    metrics["seconds"] = time.perf_counter() - began
    return metrics


def table(metrics: Metrics) -> str:
    """The metrics as the terminal shows them."""
    lines = ["        b   R2 of the field   largest error of a stationary point   kinds"]
    for row in zip(
        metrics["b"],
        metrics["r2_field"],
        metrics["stationary_errors"],
        metrics["stationary_kinds"],
        strict=True,
    ):
        b, r2, errors, kinds = row
        lines.append(f"{b:9g}{r2:18.7f}{max(errors):38.5f}   {', '.join(kinds)}")
    lines += [
        "",
        f"from paths x(t) alone, b = 1: R2 of the field {metrics['r2_field_from_paths']:.5f}",
        f"{STARTS} random starts in the right basin: {metrics['basin_accuracy']:.1%}",
        f"the central well splits at t = {metrics['split_time']:.3f} "
        f"(exact {metrics['split_time_exact']:.2f})",
        f"{metrics['seconds']:.0f} s",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study from the command line."""
    run_study("waddington", __doc__, run, table, arguments)
