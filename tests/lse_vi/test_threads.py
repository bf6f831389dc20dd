"""Fits in threads and processes: as those one after the other, and nothing global is moved."""

import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pyro
import pyro.distributions as dist
import pytest
import torch

import lse_vi

POINTS = torch.cat([torch.linspace(-3, -2, 30), torch.linspace(1, 3, 30)]).double()

POT = lse_vi.LSEICNN(1, 2, hidden=(3,), dtype=torch.float64)


def model(y):
    x = pyro.sample("x", dist.Normal(torch.tensor(0.0, dtype=torch.float64), 3.0))
    pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)


def flat(tensors):
    return torch.cat([torch.as_tensor(t, dtype=torch.float64).reshape(-1) for t in tensors])


def density(seed):
    res = lse_vi.fit_density(
        POINTS, modes=1, hidden=(3,), steps=10, restarts=1, polish=3, seed=seed, progress=False
    )
    return flat(res.density.potential.state_dict().values())


def potential(seed):
    x = torch.linspace(-2, 2, 60, dtype=torch.float64)
    res = lse_vi.fit_potential(
        POT, x, value=(x**2 - 1) ** 2, solver=lse_vi.Adam(steps=30), polish=5, restarts=2,
        seed=seed, progress=False,
    )  # fmt: skip
    return flat(res.potential.state_dict().values())


def guide(seed):
    y = torch.tensor(4.0, dtype=torch.float64)
    made = lse_vi.AutoLSEICNN(model, modes=2, hidden=())
    res = lse_vi.fit_guide(
        model, made, y, seed=seed, steps=20, samples=128, tolerance=1e-9, progress=False
    )
    draws = lse_vi.sample_smc(model, made, y, draws=80, seed=seed, progress=False)
    return flat([*made.potential.state_dict().values(), res.log_evidence, draws.samples["x"]])


def posterior(seed):
    fit = lse_vi.fit_posterior(POINTS, modes=1, hidden=(), draws=50, seed=seed, progress=False)
    chain = lse_vi.sample_posterior(fit, chains=1, draws=5, warmup=5, seed=seed, progress=False)
    return flat([fit.theta, chain.theta])


KINDS = [density, potential, guide, posterior]
JOBS = [(kind, seed) for seed in range(6) for kind in KINDS]
FEW = [(kind, 0) for kind in (density, potential, guide)]


def run(job):
    kind, seed = job
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # in which fits draw; a new process has torch's own
    return kind(seed).tolist()


def globals_of_the_process():
    stack = pyro.poutine.runtime._PYRO_STACK
    return {
        "settings": pyro.settings.get(),
        "random": torch.get_rng_state().tolist(),
        "dtype": torch.get_default_dtype(),
        "filters": list(warnings.filters),
        "validation": (
            torch.distributions.Distribution._validate_args,
            pyro.distributions.is_validation_enabled(),
            pyro.infer.is_validation_enabled(),
            pyro.poutine.is_validation_enabled(),
        ),
        "threads": torch.get_num_threads(),
        "handlers": len(stack),
        "parameters": sorted(pyro.get_param_store().keys()),
    }


@pytest.mark.parametrize(
    ("jobs", "validation"),
    [(FEW, False), pytest.param(JOBS, True, marks=pytest.mark.slow)],
)
def test_fits_in_threads_equal_those_one_after_the_other(jobs, validation):
    with pyro.validation_enabled(validation):
        expected = [run(job) for job in jobs]
        before = globals_of_the_process()
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(run, jobs))
        after = globals_of_the_process()
    assert [job for job, a, b in zip(jobs, expected, found, strict=True) if a != b] == []
    assert before == after


@pytest.mark.parametrize("kind", [guide, posterior])
def test_a_fit_inside_another_model_is_as_it_is_outside(kind):
    """Its sites are none of that model, and the plates around it none of its own."""
    expected = kind(0)
    found = []

    def outer():
        with pyro.plate("rows", 3):
            found.append(kind(0))
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("w", dist.Normal(z.sum(), 1.0), obs=torch.tensor(1.0))

    with pyro.poutine.trace() as seen:
        outer()
    stochastic = [n for n, site in seen.trace.nodes.items() if site["type"] == "sample"]
    assert stochastic == ["rows", "z", "w"]
    assert torch.equal(found[0], expected)
    names = set(pyro.get_param_store().keys())
    svi = pyro.infer.SVI(
        outer, pyro.infer.autoguide.AutoNormal(pyro.poutine.block(outer, expose=["z"])),
        pyro.optim.Adam({"lr": 0.1}), pyro.infer.Trace_ELBO(),
    )  # fmt: skip
    svi.step()
    assert torch.equal(found[-1], expected)
    new = set(pyro.get_param_store().keys()) - names
    assert {name.split(".")[0] for name in new} == {"AutoNormal"}


@pytest.mark.slow
def test_what_other_threads_draw_does_not_matter():
    going, expected = [True], [run(job) for job in JOBS[:4]]

    def noise():
        q = lse_vi.LSEDensity(lse_vi.LSEICNN(1, 2, network=lse_vi.WhitenedICNN))
        while going:
            torch.rand(3)
            q.sample((5,))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(noise)
        found = [run(job) for job in JOBS[:4]]
        going.clear()
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_fits_in_pools_of_processes_equal_those_one_after_the_other(method):
    jobs = JOBS[:4]
    expected = [run(job) for job in jobs]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        assert list(pool.map(run, jobs)) == expected


@pytest.mark.slow
def test_fits_by_joblib_equal_those_one_after_the_other():
    joblib = pytest.importorskip("joblib")
    expected = [run(job) for job in JOBS[:4]]
    for backend in ("loky", "threading"):
        found = joblib.Parallel(2, backend=backend)(joblib.delayed(run)(job) for job in JOBS[:4])
        assert found == expected
