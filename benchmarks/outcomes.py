"""The guard of refactorings: what every public function gives, to the bit, before and after.

``python -m benchmarks outcomes FILE [--compare]`` writes the outcomes (parameters, numbers, draws)
of fits of every kind with fixed seeds, in single and double precision, to FILE, or holds those of
the code as it is now against FILE. Two to three minutes on one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor

import lse_vi
from lse_vi.distribution import Method
from lse_vi.materials import Euler, EvenSteps, Exponential, Heun, Rate, RelaxationRate, Time

Settings = dict[str, Any]  # keyword arguments
Outcome = dict[str, object]
Numbers = dict[str, Tensor]
QUIET: Settings = {"progress": False}


def numbers(prefix: str, value: object) -> Numbers:
    """All tensors, arrays and numbers in ``value``, by their path."""
    if isinstance(value, torch.nn.Module):
        return numbers(prefix, dict(value.state_dict()))
    if isinstance(value, Tensor | np.ndarray | float | int | np.generic):
        return {prefix: torch.as_tensor(value).detach().clone()}
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, tuple | list):
        items = dict(enumerate(value)).items()
    else:
        return {}
    return {
        path: leaf for key, part in items for path, leaf in numbers(f"{prefix}/{key}", part).items()
    }


def groups(n: int, *places: float) -> Tensor:
    """Unit normal groups at ``places``, n points each."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(n) + place for place in places])
    return torch.as_tensor(x).to(torch.get_default_dtype())


def density_of(res: lse_vi.FitResult) -> Outcome:
    """The outcome of a fit of a density."""
    return {
        "state": res.density.potential,
        "weights": res.mode_weights,
        "places": res.mode_locations,
        "log_likelihood": res.log_likelihood,
        "history": res.history,
        "draws": res.density.sample((20,)),
        "log_z": res.density.log_normalizer,
    }


def density_line() -> object:
    """One dimension, the default."""
    return density_of(lse_vi.fit_density(groups(60, -4, 4), modes=3, polish=150, **QUIET))


def density_box() -> object:
    """A batch of data sets on a box, rho learned."""
    x = torch.stack([groups(40, -2, 2), groups(40, 0, 3)], 1).unsqueeze(-1).clamp(-5, 7)
    res = lse_vi.fit_density(
        x, modes=2, bounds=(-5.5, 7.5), restarts=2, steps=60, polish=60, **QUIET
    )
    return density_of(res)


def density_plain() -> object:
    """Plain modes on a plane's box, whole numbers as data, nothing held out."""
    x = np.random.default_rng(1).integers(0, 6, (80, 2))
    res = lse_vi.fit_density(
        x, modes=2, bounds=(-1, 6), network=lse_vi.ICNN, hidden=(4,), held_out=0.0, restarts=2,
        steps=60, polish=0, **QUIET,
    )  # fmt: skip
    return density_of(res)


def density_space() -> object:
    """Three dimensions, importance samples."""
    x = groups(240, -2, 2).reshape(-1, 3)
    return density_of(lse_vi.fit_density(x, modes=2, restarts=2, steps=20, polish=60, **QUIET))


def density_batches() -> object:
    """A part of the points at each step."""
    x = groups(500, -3, 3)
    return density_of(lse_vi.fit_density(x, modes=2, steps=60, batch_size=200, seed=3, **QUIET))


def density_rules() -> object:
    """Every way to log Z, and draws."""
    torch.manual_seed(0)
    pot = lse_vi.LSEICNN(2, 3, rho=1.0, network=lse_vi.WhitenedICNN)
    methods: list[Method] = [
        lse_vi.Quadrature(), lse_vi.Envelope(2000), lse_vi.LaplaceMixture(2000),
        lse_vi.MomentMixture(2000, sobol=True), lse_vi.ExactDraws(100),
    ]  # fmt: skip
    found = []
    for method in methods:
        q = lse_vi.LSEDensity(pot, method=method)
        found.append([q.log_normalizer, q.log_normalizer_error, q.mode_weights, q.mean, q.variance])
    boxed = lse_vi.LSEDensity(lse_vi.LSEICNN(1, 3, batch_shape=(2,)), bounds=(-2, 2))
    return [found, boxed.sample((30,)), lse_vi.LSEDensity(pot).expand((2,)).sample((9,))]


def double_well(n: int = 120) -> tuple[Tensor, Tensor, Tensor]:
    """Points, values and gradients of (x^2 - 1)^2."""
    x = torch.linspace(-2, 2, n).unsqueeze(-1)
    return x, ((x**2 - 1) ** 2).squeeze(-1), 4 * x * (x**2 - 1)


def potential_of(res: lse_vi.PotentialFit) -> Outcome:
    """The outcome of a fit of a potential."""
    found = {"state": res.potential, "error": res.error, "held_out": res.held_out_error}
    return found | {"active": res.active_modes, "history": res.history}


def potential_values() -> object:
    """Values, the default; wells."""
    x, y, _ = double_well()
    res = lse_vi.fit_potential(lse_vi.LSEICNN(1, 4), x, value=y, **QUIET)
    return [potential_of(res), tuple(res.minima)]


def potential_gradients() -> object:
    """Gradients in the plane, weighted; then motion on what was found."""
    x = torch.rand(90, 2) * 4 - 2
    g = torch.stack([4 * x[:, 0] * (x[:, 0] ** 2 - 1), 2 * x[:, 1]], -1)
    res = lse_vi.fit_potential(
        lse_vi.LSEICNN(2, 3, hidden=(6,)), x, gradient=g, gradient_weight=(1.0, 2.0), restarts=3,
        polish=20, **QUIET,
    )  # fmt: skip
    pot = res.potential
    grid = torch.cartesian_prod(torch.linspace(-1.8, 1.8, 9), torch.linspace(-1, 1, 5))
    points = lse_vi.stationary_points(pot, grid)
    minima = pot.minima(grid).points
    flow = lse_vi.gradient_flow(pot, grid, [0.0, 0.2, 1.0], tolerance=1e-4)
    blend = lse_vi.Blend(pot, pot, weight=lambda t: t).at(0.3)
    found = [potential_of(res), points[:3], minima, flow, blend(grid)]
    return [*found, lse_vi.basins(pot, grid, minima) if len(minima) else 0]


def potential_batch() -> object:
    """Two fits at once, values and gradients."""
    x, y, g = double_well(60)
    value = torch.stack([y, x.squeeze(-1) ** 2], -1)
    gradient = torch.stack([g, 2 * x], 1)
    pot = lse_vi.LSEICNN(1, 3, hidden=(5,), batch_shape=(2,))
    return potential_of(
        lse_vi.fit_potential(pot, x, value, gradient, restarts=3, polish=20, **QUIET)
    )


def potential_paper() -> object:
    """The paper's recipe, Adam, and a start from the potential's own parameters."""
    x, y, _ = double_well()
    torch.manual_seed(0)
    recipe = lse_vi.paper_recipe(steps=200)
    one = lse_vi.fit_potential(lse_vi.LSEICNN(1, 5), x, value=y, **recipe, **QUIET)
    two = lse_vi.fit_potential(
        one.potential, x, value=y, restarts=0, discovery=None, solver=lse_vi.Adam(steps=120),
        seed=2, **QUIET,
    )  # fmt: skip
    return [potential_of(one), potential_of(two)]


def trajectories() -> object:
    """Rates from paths."""
    t = torch.linspace(0, 5, 40)
    return lse_vi.rates_from_trajectories(t, torch.exp(-t).reshape(-1, 1, 1))


def square(y: Tensor) -> None:
    """x^2 seen with noise: two modes."""
    x = pyro.sample("x", dist.Normal(0.0, 3.0))
    pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)


def sites(y: Tensor) -> None:
    """A positive site, a vector and a plate; the sign of one coordinate is not known."""
    scale = pyro.sample("scale", dist.LogNormal(torch.zeros(()), 0.5))
    at = pyro.sample("at", dist.Normal(torch.zeros(2), 2.0).to_event(1))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(at[0].abs() + at[1], scale), obs=y)


def guide_of(model: Callable[[Tensor], None], y: Tensor, **settings: Any) -> list[object]:
    """The outcome of a fit of a guide, its summaries and its export."""
    pyro.clear_param_store()
    guide = lse_vi.AutoLSEICNN(model, modes=3)
    res = lse_vi.fit_guide(model, guide, y, **settings, **QUIET)
    judged = [
        res.elbo,
        res.elbo_error,
        res.log_evidence,
        res.log_evidence_error,
        res.ess,
        res.k_hat,
    ]
    idata = lse_vi.to_arviz(guide, model, y, num_samples=20, resample=True, prior=True, seed=1)
    exported = {
        group: {str(name): values.values for name, values in idata[group].data_vars.items()}
        for group in (
            "posterior",
            "log_likelihood",
            "posterior_predictive",
            "sample_stats",
            "prior",
        )
    }
    found = [guide.potential, judged, res.mode_weights, res.mode_locations, res.history]
    found += [res.mode_of_part, res.mode_of(guide.get_posterior(y).sample((9,))), exported]
    return [*found, guide.quantiles([0.1, 0.9], y), guide.median(y), guide(y)]


def guide_line() -> object:
    """One latent, two modes."""
    return guide_of(square, torch.tensor(9.0), steps=60)


def guide_sites() -> object:
    """Three latents of several kinds."""
    return guide_of(sites, groups(15, 2), steps=40, samples=512, seed=4)


def guide_svi() -> object:
    """Pyro's own training, with both ELBOs."""
    found = []
    for elbo in (lse_vi.EnergyELBO(lse_vi.LaplaceMixture(256)), Trace_ELBO(num_particles=4)):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        guide = lse_vi.AutoLSEICNN(square, modes=2, hidden=(4,))
        guide.find_modes(torch.tensor(9.0))
        svi = SVI(square, guide, pyro.optim.Adam({"lr": 0.01}), elbo)
        found.append([[svi.step(torch.tensor(9.0)) for _ in range(5)], guide.potential])
    return found


def posterior_of(post: lse_vi.DensityPosterior) -> list[object]:
    """The outcome of a fit of a posterior."""
    return [
        post.theta, post.evidence, post.mode_probabilities, tuple(post.peaks),
        post.density(torch.linspace(-2, 2, 5)), post.predictive(3), post.log_likelihood(),
    ]  # fmt: skip


def posteriors() -> object:
    """Every normal guide."""
    x = groups(20, -3, 3)
    few: Settings = {"draws": 60, "steps": 30, **QUIET}
    guides = ("full", "low_rank", "mean_field", "laplace")
    return [posterior_of(lse_vi.fit_posterior(x, modes=2, guide=g, **few)) for g in guides]


def posterior_guide() -> object:
    """Our own guide, draws of it as they are."""
    x = groups(30, 1)
    few: Settings = {"draws": 40, "annealed": False, "hidden": (), **QUIET}
    return posterior_of(lse_vi.fit_posterior(x, modes=1, guide="lse_icnn", **few))


def counting() -> object:
    """The number of modes, NUTS, and what ArviZ makes of them."""
    x = groups(20, -3, 3)
    count = lse_vi.count_modes(x, modes=2, guide="laplace", draws=60, **QUIET)
    chains = lse_vi.sample_posterior(count.best, chains=2, draws=10, warmup=10, **QUIET)
    idata = lse_vi.density_to_arviz(count.best)
    table = lse_vi.compare_densities(count.posteriors)
    exported = {str(name): v.values for name, v in idata["posterior"].data_vars.items()}
    found = [count.probabilities, count.part_probabilities, chains.theta, exported]
    return [*found, count.density(x, draws=30), table["elpd"].to_numpy()]


def memories() -> object:
    """Materials of every kind, Adam and L-BFGS."""
    path = torch.cat([torch.linspace(0, 1, 12), torch.linspace(1, 0.2, 8)])
    strain = 0.1 * path[:, None, None] * torch.rand(6, 1, 1, 1) * torch.eye(3)
    stress = 2.0 * strain + 5 * strain @ strain
    isotropic, fibre = lse_vi.Isotropic(), lse_vi.TransverselyIsotropic()
    unit: Settings = {"strain_unit": 0.1, "stress_unit": 0.2}
    models = [
        lse_vi.Elastic(lse_vi.LSEICNN(3, 2), isotropic, **unit),
        lse_vi.Play(lse_vi.LSEICNN(5, 2, hidden=(4,)), fibre, **unit).start(strain),
        lse_vi.Memory(
            lse_vi.LSEICNN(5, 2, hidden=(4,)), isotropic, RelaxationRate(3, 2, hidden=(6,)),
            stepper=Exponential(), steps=EvenSteps(0.02), **unit,
        ),
        lse_vi.Memory(
            lse_vi.LSEICNN(5, 2, hidden=(4,)), isotropic, Rate(9, 2, hidden=(6,)), stepper=Euler(),
            **unit,
        ),
        lse_vi.Memory(
            lse_vi.LSEICNN(5, 2, hidden=(4,)), isotropic, Rate(9, 2, hidden=(6,)), stepper=Heun(),
            clock=Time(), **unit,
        ),
    ]  # fmt: skip
    found = []
    times = torch.linspace(0, 1, 20)
    for model in models:
        one = lse_vi.fit_memory(model, strain, stress, times=times, steps=60, batch=4, **QUIET)
        two = lse_vi.polish_memory(model, strain, stress, times=times, steps=20, **QUIET)
        response = model(strain, times)
        found += [one.history, two.history, model, tuple(response)]
        found += [model.dissipation(strain, times), model.energy(strain, response.state)]
    return found


CASES: tuple[Callable[[], object], ...] = (
    density_line,
    density_box,
    density_plain,
    density_space,
    density_batches,
    density_rules,
    potential_values,
    potential_gradients,
    potential_batch,
    potential_paper,
    trajectories,
    guide_line,
    guide_sites,
    guide_svi,
    posteriors,
    posterior_guide,
    counting,
    memories,
)


def record() -> dict[str, Numbers]:
    """Every case in both precisions, each from the same random state."""
    found = {}
    for dtype in (torch.float32, torch.float64):
        for case in CASES:
            torch.set_default_dtype(dtype)
            pyro.clear_param_store()
            pyro.set_rng_seed(0)
            name = f"{case.__name__}, {str(dtype).removeprefix('torch.')}"
            found[name] = numbers("", case())
            print(f"{name}: {len(found[name])} tensors", flush=True)
    return found


def differences(before: Numbers, now: Numbers) -> list[str]:
    """The paths at which the two are not equal to the bit."""
    missing = [path for path in before if path not in now]
    return missing + [
        path
        for path, value in before.items()
        if path in now
        and not torch.equal(value.double().nan_to_num(1e99), now[path].double().nan_to_num(1e99))
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Record, or compare and leave with an error where an outcome is not the same to the bit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks outcomes", description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--compare", action="store_true", help="hold against FILE")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    now = record()
    if not options.compare:
        torch.save(now, options.file)
        return
    before = torch.load(options.file, weights_only=True)
    moved = {name: differences(before[name], now[name]) for name in before}
    moved = {name: paths for name, paths in moved.items() if paths}
    for name, paths in moved.items():
        print(f"{name}: {len(paths)} of {len(before[name])} differ, e.g. {paths[:3]}")
    print(json.dumps({"benchmark": "outcomes", "cases": len(before), "moved": sorted(moved)}))
    if moved:
        sys.exit(1)


if __name__ == "__main__":
    main()
