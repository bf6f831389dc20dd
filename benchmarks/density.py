"""Held-out log-likelihood and seconds of fit_density against mixtures, kernels and a flow.

``python -m benchmarks density [--cases log-concave-4 ...] [--seeds 3] [--n 4000] [--no-flow]``;
``python -m benchmarks density --cost`` is the time of a fit against n, dimension and modes.

Log-concave cases are mixtures of rotated products of exponential, uniform, Gumbel and Laplace
laws, walls of exponential and uniform laws alone; every seed has a mixture of its own. The flow is
zuko's neural spline flow (``pip install lse-vi[benchmarks]``). All contenders see the same points
and are judged on 20,000 others, in nats per point; so is the law itself, which no contender can
exceed but by chance.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from benchmarks.density_laws import law_of
from benchmarks.records import Record
from data_gen.arrays import FloatArray
from lse_vi import fit_density

Fitted = Callable[[FloatArray], float]  # mean log-likelihood of points
Fitter = Callable[[FloatArray, int], Fitted]  # of points and a seed
TEST, COMPONENTS, INITS = 20_000, 20, 5
LAW = "law itself"
CASES = (
    "log-concave-2", "log-concave-4", "log-concave-6", "walls-2", "walls-4", "walls-6",
    "crescents-2",
    "gaussian-1", "gaussian-2", "gaussian-5", "gaussian-10",
)  # fmt: skip


def ours(x: FloatArray, seed: int, modes: int = 8) -> Fitted:
    density = fit_density(x, modes=modes, seed=seed, progress=False).density

    def score(y: FloatArray) -> float:
        with torch.no_grad():
            return float(density.log_prob(torch.as_tensor(y)).mean())

    return score


def gaussian_by_bic(x: FloatArray, seed: int) -> Fitted:
    fits = [
        GaussianMixture(k, n_init=INITS, random_state=seed).fit(x) for k in range(1, COMPONENTS + 1)
    ]
    return min(fits, key=lambda fit: fit.bic(x)).score


def gaussian_by_validation(x: FloatArray, seed: int) -> Fitted:
    held_out, train = np.split(x, [len(x) // 10])  # fit_density holds out a tenth, too

    def fit(k: int, points: FloatArray) -> GaussianMixture:
        return GaussianMixture(k, n_init=INITS, random_state=seed).fit(points)

    best = max(range(1, COMPONENTS + 1), key=lambda k: fit(k, train).score(held_out))
    return fit(best, x).score


def kernels(x: FloatArray, seed: int) -> Fitted:
    scale = x.std(0)
    grid = {"bandwidth": np.geomspace(0.03, 1.0, 10)}
    search = GridSearchCV(KernelDensity(rtol=1e-3), grid, cv=3).fit(x / scale)
    best = search.best_estimator_
    return lambda y: best.score(y[:2000] / scale) / 2000 - float(np.log(scale).sum())


def spline_flow(x: FloatArray, seed: int) -> Fitted:
    import zuko

    torch.manual_seed(seed)
    shift, scale = x.mean(0), x.std(0)
    z = torch.as_tensor((x - shift) / scale)
    held_out, train = z[: len(z) // 10], z[len(z) // 10 :]
    flow = zuko.flows.NSF(x.shape[1], transforms=3, hidden_features=(64, 64)).double()
    optimiser = torch.optim.Adam(flow.parameters(), lr=2e-3)
    best, state, stale = math.inf, flow.state_dict(), 0
    while stale < 10:  # epochs without a better held-out loss
        for batch in train[torch.randperm(len(train))].split(256):
            optimiser.zero_grad()
            (-flow().log_prob(batch).mean()).backward()
            optimiser.step()
        with torch.no_grad():
            loss = float(-flow().log_prob(held_out).mean())
        stale = 0 if loss < best else stale + 1
        if loss < best:
            best, state = loss, {name: p.clone() for name, p in flow.state_dict().items()}
    flow.load_state_dict(state)

    def score(y: FloatArray) -> float:
        with torch.no_grad():
            points = torch.as_tensor((y - shift) / scale)
            return float(flow().log_prob(points).mean()) - float(np.log(scale).sum())

    return score


CONTENDERS: dict[str, Fitter] = {
    "fit_density": ours,
    "gaussian, BIC": gaussian_by_bic,
    "gaussian, validation": gaussian_by_validation,
    "kernels": kernels,
    "spline flow": spline_flow,
}


def judge(case: str, seeds: int, n: int, contenders: dict[str, Fitter]) -> Record:
    """Every contender on a case; differences are from the better Gaussian mixture of each seed."""
    scores = {name: np.empty(seeds) for name in (LAW, *contenders)}
    seconds = {name: np.empty(seeds) for name in contenders}
    for seed in range(seeds):
        law = law_of(case, seed)
        x, y = law.draw(n), law.draw(TEST)
        scores[LAW][seed] = law.log_density(y).mean()
        for name, fit in contenders.items():
            began = time.perf_counter()
            fitted = fit(x, seed)
            seconds[name][seed] = time.perf_counter() - began
            scores[name][seed] = fitted(y)
    best = np.maximum(scores["gaussian, BIC"], scores["gaussian, validation"])
    result: Record = {
        name: {
            "log_likelihood": float(score.mean()),
            "above_gaussian": float((score - best).mean()),
            "standard_error": float((score - best).std(ddof=min(1, seeds - 1)) / math.sqrt(seeds)),
        }
        for name, score in scores.items()
    }
    for name, own in seconds.items():
        result[name]["seconds"] = float(np.median(own))
        result[name]["over_bic_sweep"] = float(np.median(own / seconds["gaussian, BIC"]))
    return result


def run(cases: Sequence[str] = CASES, seeds: int = 3, n: int = 4000, flow: bool = True) -> Record:
    """Every case, printed as it is done."""
    torch.set_default_dtype(torch.float64)
    contenders = {name: fit for name, fit in CONTENDERS.items() if flow or name != "spline flow"}
    print(
        f"{'nats per point':>24}{'held out':>11}{'above the best Gaussian':>26}{'seconds':>10}"
        f"{'/ BIC sweep':>13}"
    )
    results = {}
    for case in cases:
        results[case] = judge(case, seeds, n, contenders)
        print(table(case, results[case]), flush=True)
    gains = {case: result["fit_density"]["above_gaussian"] for case, result in results.items()}
    return {
        "benchmark": "density",
        "n": n,
        "seeds": seeds,
        "least_gain_log_concave": min(
            (gain for case, gain in gains.items() if case.startswith(("log-concave", "walls"))),
            default=None,
        ),
        "least_gain": min(gains.values()),
        "most_over_bic_sweep": max(r["fit_density"]["over_bic_sweep"] for r in results.values()),
        "threads": torch.get_num_threads(),
        "cases": results,
    }


def table(case: str, result: Record) -> str:
    """A case as the terminal shows it."""
    lines = [case]
    for name, one in result.items():
        gain = f"{one['above_gaussian']:+.3f} +- {one['standard_error']:.3f}"
        line = f"{name:>24}{one['log_likelihood']:11.3f}{gain:>26}"
        if name != LAW:
            line += f"{one['seconds']:10.1f}{one['over_bic_sweep']:13.1f}"
        lines.append(line)
    return "\n".join(lines)


def cost() -> Record:
    """Seconds of a fit against the number of points, the dimension and the modes allowed."""
    torch.set_default_dtype(torch.float64)
    rows = []
    base = {"n": 4000, "dim": 4, "modes": 3}
    for change in (
        *({"n": n} for n in (1000, 4000, 16000, 64000, 256000)),
        *({"dim": dim} for dim in (1, 2, 6, 10)),
        *({"modes": modes} for modes in (1, 2, 5)),
    ):
        size = base | change
        x = law_of(f"gaussian-{size['dim']}", 0).draw(size["n"])
        began = time.perf_counter()
        ours(x, 0, modes=size["modes"])
        rows.append({**size, "seconds": time.perf_counter() - began})
    return {"benchmark": "density", "cost": rows, "threads": torch.get_num_threads()}


def cost_table(result: Record) -> str:
    """The costs as the terminal shows them."""
    lines = [f"{'n':>9}{'dim':>5}{'modes':>7}{'seconds':>9}"]
    lines += [
        f"{row['n']:9d}{row['dim']:5d}{row['modes']:7d}{row['seconds']:9.1f}"
        for row in result["cost"]
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, print the table and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks density", description=__doc__)
    parser.add_argument("--cases", choices=CASES, nargs="+", default=CASES, metavar="CASE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, default=4000)
    parser.add_argument("--no-flow", dest="flow", action="store_false")
    parser.add_argument("--cost", action="store_true")
    options = vars(parser.parse_args(arguments))
    if options.pop("cost"):
        result = cost()
        print(cost_table(result))
    else:
        result = run(**options)
    print(json.dumps(result))
