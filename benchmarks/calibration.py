"""Are Bayesian densities right? Counts of modes, coverage of bands, calibration by simulation.

``python -m benchmarks calibration [--parts counts,coverage,chains,sbc] [--sets 20] [--seed 0]``

* ``counts``: data sets of 300 points from laws with one to four separated modes, and from a pair
  that overlaps. How often is the most probable number right, and how sure is the answer?
* ``coverage``: how often does the 90 % band of the CDF hold the true one, by sample size and guide?
* ``chains``: R-hat, effective sample size and divergences of NUTS for the density on a grid, and
  whether the recommended guide gives the same density and number of modes.
* ``sbc``: simulation-based calibration (Talts et al. 2018): theta from the prior, data from theta,
  a posterior from the data; the rank of a quantity among its posterior draws is uniform.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from time import perf_counter

import arviz
import numpy as np
import torch
from scipy.stats import chisquare
from torch import Tensor

from benchmarks.records import Record
from data_gen.arrays import FloatArray
from data_gen.mixtures import LAWS, TWO
from lse_vi import BayesianDensity, DensityPosterior, count_modes, fit_posterior, sample_posterior
from lse_vi.bayesian.result import interval

POINTS = 300  # of each data set whose modes are counted
SIZES = (100, 300, 1000)
SETS = {"counts": 20, "coverage": 40, "chains": 2}  # data sets of each row
SURE = 0.95  # probability above which an answer counts as sure
RANKS = 19  # draws among which a quantity is ranked: 20 ranks


def counts(sets: int, seed: int, laws: Sequence[str]) -> list[Record]:
    """A row for each law."""
    rows = []
    print(
        f"{'law':14}{'peaks':>6}{'right':>7}{'sure':>6}{'surest':>8}{'P(right)':>10}{'s a set':>9}"
    )
    for name in laws:
        law, began = LAWS[name], perf_counter()
        answers = []
        for i in range(sets):
            x = law.sample(POINTS, seed + i)
            answers.append(count_modes(x, seed=seed + i, progress=False))
        right = sum(a.most_probable == law.peaks for a in answers)
        largest = [max(a.probabilities.values()) for a in answers]
        sure, surest = sum(p > SURE for p in largest), max(largest)
        mean = float(np.mean([a.probabilities.get(law.peaks, 0.0) for a in answers]))
        seconds = (perf_counter() - began) / sets
        print(
            f"{name:14}{law.peaks:6}{right:7}{sure:6}{surest:8.3f}{mean:10.3f}{seconds:9.1f}",
            flush=True,
        )
        rows.append({"law": name, "sets": sets, "right": right, "largest": largest, "mean": mean})
    return rows


Fitter = Callable[[FloatArray, int], DensityPosterior]


def by_guide(guide: str | None, *, annealed: bool = False) -> Fitter:
    """Draws of a guide as they are, or annealed ones, which need none."""
    return lambda x, seed: fit_posterior(
        x, modes=2, guide=guide, annealed=annealed, draws=500, seed=seed, progress=False
    )


def by_nuts(x: FloatArray, seed: int) -> DensityPosterior:
    """Two short chains."""
    fit = fit_posterior(x, modes=2, draws=500, seed=seed, progress=False)
    return sample_posterior(fit, chains=2, draws=200, warmup=100, seed=seed, progress=False)


FITTERS: dict[str, Fitter] = {
    "annealed": by_guide(None, annealed=True),
    "full": by_guide("full"),
    "low_rank": by_guide("low_rank"),
    "mean_field": by_guide("mean_field"),
    "laplace": by_guide("laplace"),
    "nuts": by_nuts,
}


def coverage(sets: int, seed: int, fitters: Sequence[str], sizes: Sequence[int]) -> list[Record]:
    """A row for each way and size: coverage at points of equal steps in the true CDF, and width."""
    grid = np.linspace(-8, 7, 3001)
    levels = np.linspace(0.02, 0.98, 33)
    x_at = torch.as_tensor(np.interp(levels, TWO.cdf(grid), grid))
    truth = torch.as_tensor(TWO.cdf(x_at.numpy()))
    rows = []
    print(f"{'way':16}{'n':>6}{'coverage':>10}{'error':>8}{'width':>8}{'s a set':>9}")
    for name in fitters:
        for n in sizes:
            began = perf_counter()
            held, widths = [], []
            for i in range(sets):
                posterior = FITTERS[name](TWO.sample(n, seed + i), seed + i)
                low, high = interval(posterior.cdf(x_at), 0.9)
                held.append(float(((low <= truth) & (truth <= high)).double().mean()))
                widths.append(float((high - low).mean()))
            mean, error = float(np.mean(held)), float(np.std(held) / np.sqrt(sets))
            width, seconds = float(np.mean(widths)), (perf_counter() - began) / sets
            print(f"{name:16}{n:6}{mean:10.3f}{error:8.3f}{width:8.4f}{seconds:9.1f}", flush=True)
            rows.append({"way": name, "n": n, "coverage": mean, "error": error, "width": width})
    return rows


def chains(sets: int, seed: int) -> list[Record]:
    """A row for each data set: four chains for a network of two modes, and the guide."""
    x_at = torch.linspace(-6.0, 5.0, 56)
    rows = []
    print(f"{'set':>4}{'R-hat':>8}{'ESS':>6}{'diverging':>11}{'in band':>9}{'P(2)':>12}{'s':>6}")
    for i in range(seed, seed + sets):
        fit = fit_posterior(TWO.sample(POINTS, i), modes=2, draws=2000, seed=i, progress=False)
        began = perf_counter()
        nuts = sample_posterior(fit, chains=4, draws=1000, warmup=200, seed=i, progress=False)
        seconds = perf_counter() - began
        grid = nuts.density(x_at).unflatten(0, nuts.theta.shape[:2])
        grid = arviz.convert_to_dataset({"q": grid.numpy()})
        rhat, ess = float(arviz.rhat(grid)["q"].max()), float(arviz.ess(grid)["q"].min())
        low, high = interval(fit.density(x_at), 0.9)
        mean = nuts.density(x_at).mean(0)
        inside = float(((low <= mean) & (mean <= high)).double().mean())
        two = [p.mode_probabilities.get(2, 0.0) for p in (fit, nuts)]
        diverging = int(nuts.stats["diverging"].sum())
        print(
            f"{i:4}{rhat:8.3f}{ess:6.0f}{diverging:11}{inside:9.2f}{two[0]:6.2f}{two[1]:6.2f}"
            f"{seconds:6.0f}",
            flush=True,
        )
        rows.append({"set": i, "rhat": rhat, "ess": ess, "diverging": diverging, "inside": inside})
    return rows


def quantities(posterior: DensityPosterior, theta: Tensor) -> dict[str, Tensor]:
    """What is identified, of coordinates (draws, size), each (draws,)."""
    model = posterior.model
    at = DensityPosterior(model, theta.unsqueeze(0), source="given")
    ticks = torch.tensor([-1.0, 0.0, 1.0])
    cdf, log_q = at.cdf(ticks), at.log_density(ticks)
    parts, mass = model.coordinates.split(theta), model.coordinates.masses(theta)
    mean = (mass * parts["mean"].squeeze(-1)).sum(-1)
    second = (-2 * parts["log_scale"]).exp() + parts["mean"].square()
    deviation = ((mass * second.squeeze(-1)).sum(-1) - mean.square()).sqrt()
    return {
        **{f"cdf({t:g})": cdf[:, i] for i, t in enumerate(ticks.tolist())},
        **{f"log q({t:g})": log_q[:, i] for i, t in enumerate(ticks.tolist())},
        "mean": mean,
        "deviation": deviation,
        "log likelihood": model.log_likelihood(theta).sum(0),
    }


def sbc(simulations: int, seed: int, guide: str, *, n: int = 50) -> list[Record]:
    """A row for each quantity: its histogram of ranks and the p-value of a chi-square test."""
    ranks: dict[str, list[int]] = {}
    for i in range(simulations):
        torch.manual_seed(seed * 100_000 + i)
        prior = BayesianDensity(torch.randn(8), modes=2, units=(0.0, 1.0))
        theta = prior.prior_sample(1)
        x = prior.density(theta).sample((n,)).reshape(n)
        posterior = fit_posterior(
            x, modes=2, units=(0.0, 1.0), guide=guide, draws=400, seed=i, progress=False
        )
        few = posterior.draws[torch.linspace(0, 399, RANKS).round().long()]
        true, drawn = quantities(posterior, theta), quantities(posterior, few)
        for name, value in true.items():
            ranks.setdefault(name, []).append(int((drawn[name] < value).sum()))
    rows = []
    print(f"{'quantity':16}{'p-value':>8}  histogram of ranks, ten bins")
    for name, values in ranks.items():
        histogram = np.bincount(np.asarray(values) // 2, minlength=(RANKS + 1) // 2)
        p = float(chisquare(histogram).pvalue)
        print(f"{name:16}{p:8.3f}  {' '.join(map(str, histogram))}", flush=True)
        rows.append({"quantity": name, "p": p, "histogram": histogram.tolist()})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks calibration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--parts", default="counts,coverage,chains,sbc")
    parser.add_argument("--sets", type=int, help=f"data sets of each row; by default {SETS}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--laws", default=",".join(LAWS))
    parser.add_argument("--ways", default=",".join(FITTERS))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--guide", default="full", help="of the calibration by simulation")
    options = parser.parse_args(arguments)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it brings
    parts, result = options.parts.split(","), {}
    sets = {part: options.sets or default for part, default in SETS.items()}
    if "counts" in parts:
        result["counts"] = counts(sets["counts"], options.seed, options.laws.split(","))
    if "coverage" in parts:
        ways = [name for name in FITTERS if name in options.ways.split(",")]
        result["coverage"] = coverage(sets["coverage"], options.seed, ways, options.sizes)
    if "chains" in parts:
        result["chains"] = chains(sets["chains"], options.seed)
    if "sbc" in parts:
        result["sbc"] = sbc(options.simulations, options.seed, options.guide)
    print(json.dumps(result))
