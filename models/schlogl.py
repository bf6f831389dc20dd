"""Schlögl: from reactions to a bimodal density over time, with an honest posterior (Fig. 8).

``python -m models schlogl [--trajectories 200] [--seed 0] [--times ...] [--out results/schlogl]``
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.nn import PyroModule
from torch import Tensor
from tqdm.auto import tqdm

from data_gen import gillespie, schlogl
from data_gen.arrays import FloatArray
from lse_vi import LSEICNN, FitResult, LSEDensity, fit_density, to_arviz
from lse_vi.densities import log_prior
from lse_vi.distribution import Box
from lse_vi.fitting.schedule import warm_up
from lse_vi.numerics.leave_one_out import TRUSTED_K, leave_one_out
from models import baselines, schlogl_figure
from models.command import Metrics
from models.schlogl_density import BayesianBoxDensity, FixedRule
from models.schlogl_guides import GUIDES, Point

N_MAX = schlogl.N_MAX
TIMES = (0.5, *range(1, 11))
LEVEL = 0.9  # of the credible bands


class Scale:
    """Standardised counts z = (n - shift) / scale, one shift and scale for all times."""

    def __init__(self, counts: Tensor) -> None:
        self.shift, self.scale = counts.mean(), counts.std()
        # A count n stands for the cell [n - 1/2, n + 1/2].
        self.bounds = (float(self(torch.tensor(-0.5))), float(self(torch.tensor(N_MAX + 0.5))))
        self.grid = self(torch.arange(N_MAX + 1, dtype=counts.dtype))  # the cells' centres

    def __call__(self, counts: Tensor) -> Tensor:
        """Counts to standardised counts."""
        return (counts - self.shift) / self.scale

    @torch.no_grad()
    def law(self, potential: LSEICNN) -> Tensor:
        """Probabilities of the counts 0..1200 under exp(-E): (counts, *batch)."""
        points = self.grid.reshape(-1, *(1,) * (len(potential.batch_shape) + 1))
        return torch.softmax(-potential(points), dim=0)


def paper_fit(x: Tensor, scale: Scale, seed: int) -> FitResult:
    """The paper's reading of its Eq. 22, all times in one batch.

    Negative ELBO = negative log-likelihood of q(x; theta) + KL(q to the uniform law on the box).
    `fit_density` counts the modes and starts it; Pyro's SVI then descends the negative ELBO with
    the density as likelihood. The weak prior of `fit_density` stays, as ridge regularisation.
    """
    # held_out=0: all data are fitted, as the prior guards against overfitting. hidden=(5, 5): less
    # than the paper's (10, 10) is enough for 200 points. polish=0: L-BFGS finds steep walls, of
    # which this law has none, and would make one of noise.
    fit = fit_density(
        x, bounds=scale.bounds, hidden=(5, 5), held_out=0.0, restarts=2, polish=0, seed=seed
    )
    potential = fit.density.potential.requires_grad_()
    box = Box.of(scale.bounds, 1, x)
    method, log_volume = FixedRule(box, panels=64), float(box.log_volume)
    n, n_times, _ = x.shape

    def model() -> None:
        pyro.module("potential", potential)
        q = LSEDensity(potential, scale.bounds, method=method)
        with pyro.plate("time", n_times, dim=-1):
            with pyro.plate("trajectory", n, dim=-2):
                pyro.sample("x", q, obs=x)
            nodes = q.rule.points
            p = torch.softmax(q.rule.log_weights - potential(nodes), dim=0)
            negative_entropy = (p * q.log_prob(nodes)).sum(0)
            pyro.factor("kl_to_uniform", -(negative_entropy + log_volume))
            pyro.factor("prior", log_prior(potential))

    run_svi(model, lambda: None, steps=200, peak_rate=0.005, title="negative ELBO", particles=1)
    fit.density = LSEDensity(potential, scale.bounds)
    fit.active_modes = potential.active_modes(x).sum(-1)
    return fit


def bayesian_fit(
    x: Tensor, scale: Scale, fit: FitResult, steps: int, guide: str
) -> tuple[BayesianBoxDensity, PyroModule]:
    """The Bayesian reading of Eq. 21: priors on the network, a guide over all its parameters."""
    potential = fit.density.potential
    bayes = BayesianBoxDensity(x, modes=potential.modes, bounds=scale.bounds)
    with torch.no_grad():
        point = Point(bayes.start(potential.responsibilities(x)))
    run_svi(bayes.model, point, steps=500, peak_rate=0.03, title="posterior mode", particles=1)
    mode = point.loc.detach()
    posterior = GUIDES[guide](mode, bayes.laplace_root(mode))
    if list(posterior.parameters()):
        run_svi(bayes.model, posterior, steps=steps, peak_rate=0.02, title="posterior", particles=8)
    return bayes, posterior


def run_svi(
    model: Callable[[], None],
    guide: Callable[[], object],
    *,
    steps: int,
    peak_rate: float,
    title: str,
    particles: int,
) -> None:
    """Pyro's SVI under a one-cycle schedule, with a bar."""
    optimiser = pyro.optim.OneCycleLR(
        {
            "optimizer": torch.optim.Adam,
            "optim_args": {"lr": peak_rate},
            "max_lr": peak_rate,
            "total_steps": steps,
            "pct_start": warm_up(0.1, steps),
        }
    )
    elbo = Trace_ELBO(
        num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=2
    )
    svi = SVI(model, guide, optimiser, elbo)
    bar = tqdm(range(steps), title, mininterval=1.0)
    for step in bar:
        loss = svi.step()
        optimiser.step()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss:.1f}", refresh=False)


@torch.no_grad()
def posterior_laws(
    bayes: BayesianBoxDensity, guide: PyroModule, scale: Scale, draws: int
) -> tuple[Tensor, Tensor]:
    """Draws of theta (draws, times, size) and of the law (counts, draws, times)."""
    with pyro.plate("draw", draws, dim=-2):
        theta = guide()
    laws = [scale.law(bayes.potential(part)) for part in theta.split(50)]
    return theta, torch.cat(laws, dim=1)


def band(values: Tensor) -> tuple[Tensor, Tensor]:
    """Central credible band over the draws: (counts, draws, times) -> two (counts, times)."""
    low, high = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    return values.quantile(low, dim=1), values.quantile(high, dim=1)


def total_variation(p: FloatArray, exact: FloatArray) -> list[float]:
    """TV of each row of ``p`` against ``exact``, both (times, counts)."""
    return (0.5 * np.abs(p - exact).sum(-1)).tolist()


def posterior_file(
    bayes: BayesianBoxDensity, theta: Tensor, times: Sequence[float], path: Path
) -> Any:
    """Posterior, log-likelihood and observed data as an ArviZ file; returns the ArviZ object."""
    idata = to_arviz(
        {"theta": theta.unsqueeze(0)},
        bayes.model,
        parallel=True,
        prior=False,
        coords={"set": list(times)},
        seed=0,
    )
    idata.to_netcdf(str(path))
    return idata


def run(
    trajectories: int = 200,
    seed: int = 0,
    times: Sequence[float] = TIMES,
    out: str | Path = "results/schlogl",
    steps: int = 600,
    draws: int = 400,
    guide: str = "full",
) -> Metrics:
    """The whole study; writes figure, metrics and posterior to ``out`` and returns the metrics."""
    began = time.perf_counter()
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_default_dtype(torch.float64)
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)

    counts = gillespie.simulate(schlogl.network(), schlogl.X0, times, trajectories, seed)[..., 0]
    exact = schlogl.law(np.asarray(times, dtype=float))  # (times, counts)
    n = torch.as_tensor(counts, dtype=torch.float64)
    scale = Scale(n)
    x = scale(n).unsqueeze(-1)  # (trajectories, times, 1)

    fit = paper_fit(x, scale, seed)
    lse = scale.law(fit.density.potential).T.numpy()
    bayes, posterior = bayesian_fit(x, scale, fit, steps, guide)
    theta, laws = posterior_laws(bayes, posterior, scale, draws)
    predictive = laws.mean(1).T.numpy()
    low, high = (edge.T.numpy() for edge in band(laws.cumsum(0)))
    exact_cdf = exact.cumsum(-1)
    inside = (exact_cdf >= 0.02) & (exact_cdf <= 0.98)
    covered = (low <= exact_cdf) & (exact_cdf <= high)

    others = baselines.laws(counts, N_MAX)
    tv = {
        "lse": total_variation(lse, exact),
        "lse_bayes": total_variation(predictive, exact),
        **{name: total_variation(p, exact) for name, p in others.items()},
    }
    late = np.asarray(times) >= 1
    idata = posterior_file(bayes, theta, times, out / "posterior.nc")
    metrics: Metrics = {
        "times": list(times),
        **{f"tv_{name}": values for name, values in tv.items()},
        **{f"mean_tv_{name}": float(np.mean(np.array(v)[late])) for name, v in tv.items()},
        "band_coverage_90": float(covered[inside].mean()),
        "active_modes": fit.active_modes.tolist(),
        "local_maxima": [local_maxima(p) for p in lse],
        "loo": scores(idata),
        "guide": guide,
        "trajectories": trajectories,
        "seed": seed,
    }
    edges = [edge.T.numpy() for edge in band(laws)]
    schlogl_figure.draw(
        times, counts, exact, lse, others["kde_isj"], (edges[0], predictive, edges[1]), seed,
        out / "figure8.png",
    )  # fmt: skip
    metrics["seconds"] = time.perf_counter() - began
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    return metrics


def local_maxima(p: FloatArray) -> int:
    """Number of local maxima of a law on 0, 1, 2, ..."""
    padded = np.concatenate([[-1.0], p, [-1.0]])
    return int(((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:])).sum())


def scores(idata: Any) -> dict[str, float]:
    """PSIS-LOO of the Bayesian density, summed over times and trajectories."""
    loo = leave_one_out(torch.as_tensor(idata["log_likelihood"]["x"].values))
    return {
        "elpd": loo.elpd,
        "se": loo.se,
        "p_loo": loo.p,
        "share_k_above_0.7": float((loo.pareto_k > TRUSTED_K).double().mean()),
    }


def table(metrics: Metrics) -> str:
    """The metrics as the terminal shows them."""
    names = ["lse", "lse_bayes", "kde_isj", "kde_scott", "gmm_bic"]
    lines = ["total variation against the exact law (chemical master equation)", ""]
    lines.append("     t " + "".join(f"{name:>11}" for name in names) + "      modes  maxima")
    for i, t in enumerate(metrics["times"]):
        row = "".join(f"{metrics[f'tv_{name}'][i]:11.4f}" for name in names)
        lines.append(f"{t:6g} {row}{metrics['active_modes'][i]:11d}{metrics['local_maxima'][i]:8d}")
    row = "".join(f"{metrics[f'mean_tv_{name}']:11.4f}" for name in names)
    lines.append(f"t >= 1 {row}   (mean)")
    loo = metrics["loo"]
    lines += [
        "",
        f"90% band of the CDF holds the exact CDF at {metrics['band_coverage_90']:.1%} of points",
        f"LOO {loo['elpd']:.1f} +- {loo['se']:.1f}, {loo['p_loo']:.1f} effective parameters, "
        f"Pareto k > 0.7 at {loo['share_k_above_0.7']:.1%} of points",
        f"{metrics['seconds']:.0f} s",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, print the table."""
    parser = argparse.ArgumentParser(prog="python -m models schlogl", description=__doc__)
    parser.add_argument("--trajectories", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", type=float, nargs="+", default=list(TIMES))
    parser.add_argument("--out", default="results/schlogl")
    parser.add_argument("--steps", type=int, default=600, help="steps of the posterior's SVI")
    parser.add_argument("--draws", type=int, default=400, help="draws of the posterior")
    parser.add_argument("--guide", choices=GUIDES, default="full", help="family of the posterior")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it brings
    print(table(run(**vars(options))))
    print(f"figure8.png, metrics.json and posterior.nc are in {options.out}")
