"""Held-out log-likelihood and seconds of fit_density against mixtures, kernels and a flow.

``python -m benchmarks density [--cases log-concave-4 ...] [--seeds 3] [--n 4000] [--no-flow]``;
``python -m benchmarks density --cost`` is the time of a fit against n, dimension and modes.

Log-concave cases are mixtures of rotated products of exponential, uniform, Gumbel and Laplace
laws; every seed has a mixture of its own. The flow is zuko's neural spline flow
(``pip install lse-vi[benchmarks]``). All contenders see the same points and are judged on 20,000
others, in nats per point.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from lse_vi import fit_density

Sampler = Callable[[int], np.ndarray]
Fitted = Callable[[np.ndarray], float]  # mean log-likelihood of points
TEST, COMPONENTS, INITS = 20_000, 20, 5
CASES = (
    "log-concave-2", "log-concave-4", "log-concave-6", "crescents-2",
    "gaussian-1", "gaussian-2", "gaussian-5", "gaussian-10",
)  # fmt: skip


def standard(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    """Draws of mean 0 and variance 1 from a log-concave law."""
    if kind == "exponential":
        return rng.exponential(size=n) - 1
    if kind == "uniform":
        return rng.uniform(-math.sqrt(3), math.sqrt(3), n)
    if kind == "gumbel":
        return (rng.gumbel(size=n) - np.euler_gamma) / (math.pi / math.sqrt(6))
    if kind == "laplace":
        return rng.laplace(size=n) / math.sqrt(2)
    return rng.standard_normal(n)


def mixture(dim: int, kinds: Sequence[str], seed: int) -> Sampler:
    """Three rotated, stretched and shifted products."""
    rng = np.random.default_rng([dim, len(kinds), seed])
    weights = rng.dirichlet(np.full(3, 5.0))
    parts = [
        (
            np.linalg.qr(rng.standard_normal((dim, dim)))[0],
            np.exp(rng.uniform(-0.5, 0.5, dim)),
            4 / math.sqrt(dim) * rng.standard_normal(dim),
            rng.choice(kinds, dim),
        )
        for _ in range(3)
    ]

    def draw(n: int) -> np.ndarray:
        label, x = rng.choice(3, n, p=weights), np.empty((n, dim))
        for k, (rotation, widths, centre, laws) in enumerate(parts):
            own = label == k
            u = np.stack([standard(law, rng, own.sum()) for law in laws], axis=1)
            x[own] = u * widths @ rotation.T + centre
        return x

    return draw


def crescents(seed: int) -> Sampler:
    """Two interlocked half circles, blurred by a tenth of their radius."""
    rng = np.random.default_rng(seed)

    def draw(n: int) -> np.ndarray:
        side = rng.integers(0, 2, n)
        angle = rng.uniform(0, math.pi, n) + math.pi * side
        circle = np.stack([np.cos(angle) + side, np.sin(angle) + 0.5 * side], axis=1)
        return circle + 0.1 * rng.standard_normal((n, 2))

    return draw


def sampler(case: str, seed: int) -> Sampler:
    family, dim = case.rsplit("-", 1)
    if family == "crescents":
        return crescents(seed)
    logs = ("exponential", "uniform", "gumbel", "laplace")
    return mixture(int(dim), logs if family == "log-concave" else ("normal",), seed)


def ours(x: np.ndarray, seed: int, modes: int = 8) -> Fitted:
    density = fit_density(x, modes=modes, seed=seed, progress=False).density

    def score(y: np.ndarray) -> float:
        with torch.no_grad():
            return float(density.log_prob(torch.as_tensor(y)).mean())

    return score


def gaussian_by_bic(x: np.ndarray, seed: int) -> Fitted:
    fits = [
        GaussianMixture(k, n_init=INITS, random_state=seed).fit(x) for k in range(1, COMPONENTS + 1)
    ]
    return min(fits, key=lambda fit: fit.bic(x)).score


def gaussian_by_validation(x: np.ndarray, seed: int) -> Fitted:
    held_out, train = np.split(x, [len(x) // 10])  # as much as fit_density holds out

    def fit(k: int, points: np.ndarray) -> GaussianMixture:
        return GaussianMixture(k, n_init=INITS, random_state=seed).fit(points)

    best = max(range(1, COMPONENTS + 1), key=lambda k: fit(k, train).score(held_out))
    return fit(best, x).score


def kernels(x: np.ndarray, seed: int) -> Fitted:
    scale = x.std(0)
    grid = {"bandwidth": np.geomspace(0.03, 1.0, 10)}
    search = GridSearchCV(KernelDensity(rtol=1e-3), grid, cv=3).fit(x / scale)
    best = search.best_estimator_
    return lambda y: best.score(y[:2000] / scale) / 2000 - float(np.log(scale).sum())


def spline_flow(x: np.ndarray, seed: int) -> Fitted:
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

    def score(y: np.ndarray) -> float:
        with torch.no_grad():
            points = torch.as_tensor((y - shift) / scale)
            return float(flow().log_prob(points).mean()) - float(np.log(scale).sum())

    return score


CONTENDERS = {
    "fit_density": ours,
    "gaussian, BIC": gaussian_by_bic,
    "gaussian, validation": gaussian_by_validation,
    "kernels": kernels,
    "spline flow": spline_flow,
}


def run(
    cases: Sequence[str] = CASES, seeds: int = 3, n: int = 4000, flow: bool = True
) -> dict[str, Any]:
    """Every case, every seed; differences are from the better Gaussian mixture of each seed."""
    torch.set_default_dtype(torch.float64)
    contenders = {name: fit for name, fit in CONTENDERS.items() if flow or name != "spline flow"}
    results = {}
    for case in cases:
        scores = {name: np.empty(seeds) for name in contenders}
        seconds = {name: np.empty(seeds) for name in contenders}
        for seed in range(seeds):
            draw = sampler(case, seed)
            x, y = draw(n), draw(TEST)
            for name, fit in contenders.items():
                began = time.perf_counter()
                fitted = fit(x, seed)
                seconds[name][seed] = time.perf_counter() - began
                scores[name][seed] = fitted(y)
        best = np.maximum(scores["gaussian, BIC"], scores["gaussian, validation"])
        results[case] = {
            name: {
                "log_likelihood": float(scores[name].mean()),
                "above_gaussian": float((scores[name] - best).mean()),
                "standard_error": float((scores[name] - best).std(ddof=1) / math.sqrt(seeds))
                if seeds > 1
                else None,
                "seconds": float(np.median(seconds[name])),
                "over_bic_sweep": float(np.median(seconds[name] / seconds["gaussian, BIC"])),
            }
            for name in contenders
        }
    gains = {case: result["fit_density"]["above_gaussian"] for case, result in results.items()}
    return {
        "benchmark": "density",
        "n": n,
        "seeds": seeds,
        "least_gain_log_concave": min(
            (gain for case, gain in gains.items() if case.startswith("log-concave")), default=None
        ),
        "least_gain": min(gains.values()),
        "most_over_bic_sweep": max(r["fit_density"]["over_bic_sweep"] for r in results.values()),
        "threads": torch.get_num_threads(),
        "cases": results,
    }


def table(result: dict[str, Any]) -> str:
    """The result as the terminal shows it."""
    lines = [
        f"{'nats per point':>24}{'held out':>11}{'above the best Gaussian':>26}{'seconds':>10}"
        f"{'/ BIC sweep':>13}"
    ]
    for case, contenders in result["cases"].items():
        lines.append(case)
        for name, one in contenders.items():
            error = one["standard_error"]
            gain = f"{one['above_gaussian']:+.3f}" + (f" +- {error:.3f}" if error else "")
            lines.append(
                f"{name:>24}{one['log_likelihood']:11.3f}{gain:>26}{one['seconds']:10.1f}"
                f"{one['over_bic_sweep']:13.1f}"
            )
    return "\n".join(lines)


def cost() -> dict[str, Any]:
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
        x = sampler(f"gaussian-{size['dim']}", 0)(size["n"])
        began = time.perf_counter()
        ours(x, 0, modes=size["modes"])
        rows.append({**size, "seconds": time.perf_counter() - began})
    return {"benchmark": "density", "cost": rows, "threads": torch.get_num_threads()}


def cost_table(result: dict[str, Any]) -> str:
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
        print(table(result))
    print(json.dumps(result))
