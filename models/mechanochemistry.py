"""Mechanochemistry: stress and chemical potential of a crystal that changes phase (Fig. 5-7).

``python -m models mechanochemistry [--seed 0] [--modes 5] [--steps 40]``
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import r2_score

from data_gen import mechanochemistry as crystal
from data_gen.arrays import BoolArray, FloatArray
from lse_vi import LSEICNN, LevenbergMarquardt, fit_potential
from models import mechanochemistry_figure
from models.command import Metrics, run_study

TRAIN, TEST = 800, 200
MODES, HIDDEN = 5, (10, 10)
STEPS = 40
IN_RANGE = 0.5  # the path of Eq. 16 leaves the range of the data at this t


def run(
    seed: int = 0,
    out: Path = Path("results/mechanochemistry"),
    modes: int = MODES,
    steps: int = STEPS,
) -> Metrics:
    """The whole study; writes the figures to ``out`` and returns the metrics."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_default_dtype(torch.float64)
    x, gradient = crystal.sample(TRAIN, seed)
    began = time.perf_counter()
    fit = fit_potential(
        LSEICNN(7, modes, hidden=HIDDEN),
        x,
        gradient=gradient,
        discovery=None,
        solver=LevenbergMarquardt(steps=steps),
        polish=0,
        restarts=1,
        seed=seed,
    )
    seconds = time.perf_counter() - began
    pot = fit.potential.requires_grad_(False)

    unseen, exact_gradient = crystal.sample(TEST, seed + 1000)
    energy, fitted_gradient = (
        part.numpy() for part in pot.energy_and_gradient(torch.as_tensor(unseen))
    )
    exact = crystal.potential(unseen)
    energy = energy + (exact - energy).mean()  # a gradient leaves the offset free

    t = np.linspace(0, 1, 201)
    path = crystal.path(t)
    along, gradient_along = (
        part.numpy() for part in pot.energy_and_gradient(torch.as_tensor(path))
    )
    inside = t <= IN_RANGE
    exact_along = crystal.potential(path)
    along = along + (exact_along - along)[inside].mean()

    def path_r2(part: BoolArray) -> float:
        truth = crystal.gradient(path)[part]
        return float(r2_score(truth, gradient_along[part], multioutput="variance_weighted"))

    metrics: Metrics = {
        "components": list(crystal.COORDINATES),
        "r2_gradient": r2_score(exact_gradient, fitted_gradient, multioutput="raw_values").tolist(),
        "r2_potential": float(r2_score(exact, energy)),
        "r2_path_in_range": path_r2(inside),
        "r2_path_beyond": path_r2(~inside),
        "rmse_path_in_range": _rmse(crystal.gradient(path), gradient_along, inside),
        "rmse_path_beyond": _rmse(crystal.gradient(path), gradient_along, ~inside),
        "active_modes": int(fit.active_modes),
        "rho": float(pot.rho),
        "seconds": seconds,
        "seed": seed,
    }
    mechanochemistry_figure.projections(pot, out / "figure5.png")
    mechanochemistry_figure.parity(
        (exact, energy), (exact_gradient, fitted_gradient), out / "figure6.png"
    )
    mechanochemistry_figure.extrapolation(
        t, (exact_along, along), (crystal.gradient(path), gradient_along), IN_RANGE,
        out / "figure7.png",
    )  # fmt: skip
    return metrics


def _rmse(exact: FloatArray, fitted: FloatArray, part: BoolArray) -> float:
    """Root mean squared error of all components, on a part of the path."""
    return float(np.sqrt(((exact - fitted)[part] ** 2).mean()))


def table(metrics: Metrics) -> str:
    """The metrics as the terminal shows them."""
    lines = [f"R2 on {TEST} points that were not fitted", ""]
    names = [f"dPsi/d{name}" for name in metrics["components"]]
    lines += [
        f"{name:>12}{r2:10.5f}" for name, r2 in zip(names, metrics["r2_gradient"], strict=True)
    ]
    lines += [
        f"{'Psi':>12}{metrics['r2_potential']:10.5f}   (offset removed)",
        "",
        f"path of Eq. 16, t <= {IN_RANGE}: R2 of the gradient {metrics['r2_path_in_range']:.4f}, "
        f"RMSE {metrics['rmse_path_in_range']:.3g}",
        f"path of Eq. 16, t >  {IN_RANGE}: R2 of the gradient {metrics['r2_path_beyond']:.4f}, "
        f"RMSE {metrics['rmse_path_beyond']:.3g}   (extrapolation)",
        f"{metrics['active_modes']} modes in use, {metrics['seconds']:.0f} s for the fit",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study from the command line."""
    run_study("mechanochemistry", __doc__, run, table, arguments, modes=MODES, steps=STEPS)
