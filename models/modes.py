"""How many modes has your data? A density with bands, and a probability for each number of modes.

``python -m models modes [--data FILE.csv] [--column NAME ...] [--modes 5] [--out results/modes]``

One or two columns of a CSV file; without a file, counts of the Schlögl reaction at t = 10, which
has two stable states. Writes ``modes.png``, ``metrics.json`` and ``posterior.nc`` (for ArviZ).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from data_gen import gillespie, schlogl
from data_gen.arrays import FloatArray
from lse_vi import ModeCount, compare_densities, count_modes, density_to_arviz
from lse_vi.plots import STYLE, plot_check, plot_mode_count, plot_posterior
from models.columns import read_columns
from models.command import Metrics, save

EXAMPLE_TIME, EXAMPLE_SIZE = 10.0, 300
FEW = 0.5  # share of distinct values below which the data are rather counts than measurements


def example(seed: int) -> tuple[FloatArray, list[str]]:
    """Counts of the Schlögl reaction, spread over their cells: (n, 1), and a name."""
    counts = gillespie.simulate(
        schlogl.network(), schlogl.X0, [EXAMPLE_TIME], EXAMPLE_SIZE, seed
    )[:, 0]  # fmt: skip
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, counts.shape)
    return counts + noise, ["molecules"]


def run(
    data: str | Path | None = None,
    column: Sequence[str] = (),
    modes: int = 5,
    seed: int = 0,
    draws: int = 1000,
    out: str | Path = "results/modes",
    progress: bool = True,
) -> Metrics:
    """Count the modes; write the figure, the metrics and the posterior to ``out``."""
    began = time.perf_counter()
    x, names = example(seed) if data is None else read_columns(data, column)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    count = count_modes(x, modes=modes, draws=draws, seed=seed, progress=progress)
    table = compare_densities(count.posteriors)
    density_to_arviz(count.best, seed=seed).to_netcdf(str(out / "posterior.nc"))
    draw(count, names, out / "modes.png")
    metrics: Metrics = {
        "data": "example" if data is None else str(data),
        "columns": names,
        "points": len(x),
        "distinct": len(np.unique(x, axis=0)),
        "mode_probabilities": {str(m): p for m, p in count.probabilities.items()},
        "part_probabilities": {str(k): p for k, p in count.part_probabilities.items()},
        "peaks": peaks(count),
        "loo": {
            str(name): {
                "elpd": float(row["elpd"]),
                "se": float(row["se"]),
                "p_loo": float(row["p"]),
                "weight": float(row["weight"]),
                "worst_k": float(row["worst_k"]),
            }
            for name, row in table.iterrows()
        },
        "evidence": {
            str(k): p.evidence._asdict() for k, p in count.posteriors.items() if p.evidence
        },
        "seed": seed,
        "seconds": time.perf_counter() - began,
    }
    return save(metrics, out)


def peaks(count: ModeCount) -> list[Metrics]:
    """The peaks of the best posterior, with 90 % intervals."""
    return [
        {name: value.tolist() if isinstance(value, torch.Tensor) else value
         for name, value in peak._asdict().items()}
        for peak in count.best.peak_table()
    ]  # fmt: skip


def draw(count: ModeCount, names: Sequence[str], path: Path) -> None:
    """The density with its band, the probabilities, and the posterior-predictive check."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2 + len(names), figsize=(4.6 * (2 + len(names)), 3.8))
        plot_posterior(count, ax=axes[0])
        plot_mode_count(count, ax=axes[1])
        axes[0].set_xlabel(names[0])
        if len(names) > 1:
            axes[0].set_ylabel(names[1])
        for i, name in enumerate(names):
            plot_check(count.best, axis=i, ax=axes[2 + i])
            axes[2 + i].set_xlabel(name)
        for ax, title in zip(
            axes, ("density", "how many modes", *["would I have been told?"] * 2), strict=False
        ):
            ax.set_title(title)
        figure.savefig(path)
        plt.close(figure)


def table(metrics: Metrics) -> str:
    """The metrics as the terminal shows them."""
    lines = [
        f"{metrics['points']} points of {', '.join(metrics['columns'])} ({metrics['data']})",
        "",
        "number of modes (peaks of the density), given the data",
    ]
    lines += [f"  {m:>2}  {p:7.1%}" for m, p in metrics["mode_probabilities"].items()]
    lines += ["", "  K  P(K | data)  log evidence             LOO    se  weight  worst k"]
    for k, p in metrics["part_probabilities"].items():
        e, loo = metrics["evidence"][k], metrics["loo"][k]
        lines.append(
            f"{k:>3}{p:13.3f}{e['log_evidence']:14.2f} +- {e['error']:4.2f}"
            f"{loo['elpd']:9.1f}"
            f"{loo['se']:6.1f}{loo['weight']:8.2f}{loo['worst_k']:9.2f}"
        )
    lines += ["", "peaks of the density, with 90 % intervals"]
    for peak in metrics["peaks"]:
        where = ", ".join(
            f"{name} {at:.4g} ({low:.4g} to {high:.4g})"
            for name, at, low, high in zip(
                metrics["columns"], peak["location"], peak["location_low"], peak["location_high"],
                strict=True,
            )
        )  # fmt: skip
        lines.append(
            f"  {where}, mass {peak['mass']:.3f} "
            f"({peak['mass_low']:.3f} to {peak['mass_high']:.3f})"
        )
    if metrics["distinct"] < FEW * metrics["points"]:
        lines += [
            "",
            f"only {metrics['distinct']} values are distinct: if these are counts, spread them "
            "over their cells first (x + rand - 1/2), as a value that many points share is a mode",
        ]
    lines += ["", f"{metrics['seconds']:.0f} s"]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m models modes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", help="a CSV file with a header")
    parser.add_argument("--column", nargs="+", default=[], help="one or two of its columns")
    parser.add_argument("--modes", type=int, default=5, help="the largest number of modes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=1000, help="draws of each posterior")
    parser.add_argument("--out", default="results/modes")
    options = parser.parse_args(arguments)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it brings
    try:
        metrics = run(**vars(options))
    except ValueError as error:
        parser.error(str(error))
    print(table(metrics))
    print(f"modes.png, metrics.json and posterior.nc are in {options.out}")
