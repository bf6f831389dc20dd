"""Wells: three functions, ten seeds, the number of wells not given (Fig. 1-4 of the paper).

``python -m models wells [--seed 0] [--out results/wells]``
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from data_gen import wells
from data_gen.truth import PotentialTruth
from lse_vi import LSEICNN, PotentialFit, fit_potential
from models import wells_figure
from models.command import Metrics, run_study

POINTS = 200  # drawn at random for each seed
MODES, HIDDEN = 10, (10, 10)  # at most; the paper's size
SEEDS = 10


def grid() -> Tensor:
    """The paper's 200 equally spaced test points: (200, 1)."""
    return torch.linspace(-3, 3, 200).unsqueeze(-1)


def fit(truth: PotentialTruth, seed: int) -> PotentialFit:
    """One function from one seed, which draws the data and starts the networks."""
    x, y = wells.sample(truth, POINTS, seed)
    return fit_potential(LSEICNN(1, MODES, hidden=HIDDEN), x, value=y, seed=seed, progress=False)


@torch.no_grad()
def score(result: PotentialFit, truth: PotentialTruth) -> Metrics:
    """Test error as a share of the function's range, minima on [-3, 3], and active modes."""
    x = grid()
    exact = truth.potential(x.numpy())
    error = result.potential(x).numpy() - exact
    minima = result.potential.minima(x).points
    return {
        "rmse_rel": float(np.sqrt((error**2).mean()) / np.ptp(exact)),
        "minima": int(((minima >= -3) & (minima <= 3)).sum()),
        "active_modes": int(result.active_modes),
    }


def run(seed: int = 0, out: Path = Path("results/wells"), seeds: int = SEEDS) -> Metrics:
    """The whole study from ``seed`` on; writes the figures to ``out``, returns the metrics."""
    began = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    torch.set_default_dtype(torch.float64)
    results: dict[PotentialTruth, list[PotentialFit]] = {}
    metrics: Metrics = {}
    for truth in wells.TRUTHS:
        started = time.perf_counter()
        fits = [fit(truth, s) for s in tqdm(range(seed, seed + seeds), f"{truth.name} well")]
        scores = [score(result, truth) for result in fits]
        metrics[truth.name] = {key: [s[key] for s in scores] for key in scores[0]}
        metrics[truth.name]["seconds"] = time.perf_counter() - started
        results[truth] = fits
    wells_figure.sharpness(out / "figure1.png")
    wells_figure.convergence(results, out / "figure2.png")
    wells_figure.fits(results, seed, out / "figure3.png")
    wells_figure.evolution(results, out / "figure4.png")
    return {"wells": metrics, "seed": seed, "seconds": time.perf_counter() - began}


def table(metrics: Metrics) -> str:
    """The metrics as the terminal shows them."""
    lines = [
        f"{'function':>10}{'test RMSE / range':>22}{'minima':>9}{'true':>6}{'active modes':>15}"
        f"{'seconds':>9}",
        f"{'':>10}{'median':>11}{'worst':>11}",
    ]
    for truth in wells.TRUTHS:
        one = metrics["wells"][truth.name]
        true = sum(point.kind == "minimum" for point in truth.stationary_points)
        lines.append(
            f"{truth.name:>10}{np.median(one['rmse_rel']):11.2e}{max(one['rmse_rel']):11.2e}"
            f"{_counts(one['minima']):>9}{true:6d}{_counts(one['active_modes']):>15}"
            f"{one['seconds']:9.0f}"
        )
    seeds = len(metrics["wells"][wells.DOUBLE.name]["minima"])
    lines += ["", f"{seeds} seeds, {metrics['seconds']:.0f} s"]
    return "\n".join(lines)


def _counts(numbers: list[int]) -> str:
    """'4' if all agree, else as '4 x9, 5 x1'."""
    found = sorted(set(numbers))
    if len(found) == 1:
        return str(found[0])
    return ", ".join(f"{number} x{numbers.count(number)}" for number in found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study from the command line."""
    run_study("wells", __doc__, run, table, arguments)
