"""kill -9 at random times in each kind of fit: the same call goes on and ends in the same place."""

import functools
import multiprocessing
import os
import random
import signal
import time

import pyro
import pyro.distributions as dist
import pytest
import torch

import lse_vi

KILLS = 20
QUICK = {"progress": False, "seed": 0}


def model(y):
    x = pyro.sample("x", dist.Normal(0.0, 3.0))
    pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)


def flat(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def density(path):
    x = torch.cat([torch.linspace(-3, -2, 60), torch.linspace(1, 3, 60)])
    few = {"modes": 2, "hidden": (3,), "steps": 120, "restarts": 2, "polish": 40}
    return flat(lse_vi.fit_density(x, checkpoint=path, **few, **QUICK).density.potential)


def potential(path):
    x = torch.linspace(-2, 2, 80)
    pot = lse_vi.LSEICNN(1, 3, hidden=(3,))
    with torch.no_grad():
        for p in pot.network.parameters():
            p.fill_(0.1)
    few = {"solver": lse_vi.Adam(steps=400), "restarts": 2, "polish": 20}
    fit = lse_vi.fit_potential(pot, x, value=(x**2 - 1) ** 2, checkpoint=path, **few, **QUICK)
    return flat(fit.potential)


def guide(path):
    made = lse_vi.AutoLSEICNN(model, modes=2, hidden=(3,))
    few = {"steps": 300, "samples": 512, "tolerance": 1e-9}
    lse_vi.fit_guide(model, made, torch.tensor(4.0), checkpoint=path, **few, **QUICK)
    return flat(made.potential)


def drawn(path):
    """Draws for a guide that has missed one of two modes: a few stages."""
    made = lse_vi.AutoLSEICNN(model, modes=1, hidden=())
    few = {"draws": 8000, "checkpoint": path}
    return lse_vi.sample_smc(model, made, torch.tensor(9.0), **few, **QUICK).samples["x"].flatten()


def material():
    made = lse_vi.Elastic(lse_vi.LSEICNN(3, 2, hidden=(3,)), lse_vi.Isotropic(), strain_unit=0.1)
    with torch.no_grad():
        for i, p in enumerate(made.parameters()):
            p.copy_(torch.linspace(-0.3, 0.3, p.numel()).reshape(p.shape) + 0.1 * i)
    return made


STRAIN = (
    0.1
    * torch.linspace(0, 1, 20, dtype=torch.float64).reshape(1, 20, 1, 1)
    * torch.eye(3, dtype=torch.float64)
)


def memory(path):
    made = material()
    lse_vi.fit_memory(made, STRAIN, 2 * STRAIN, steps=600, checkpoint=path, progress=False)
    return flat(made)


def polished(path):
    made = material()
    lse_vi.polish_memory(made, STRAIN, 2 * STRAIN, steps=300, checkpoint=path, progress=False)
    return flat(made)


POINTS = torch.cat([torch.linspace(-3, -2, 30), torch.linspace(1, 3, 30)]).double()


def posterior(path):
    few = {"modes": 1, "hidden": (), "steps": 40, "draws": 200}
    fit = lse_vi.fit_posterior(POINTS, checkpoint=path, **few, **QUICK)
    return torch.cat([fit.draws.flatten(), torch.tensor(fit.evidence[:2])])


def counted(path):
    few = {"modes": 3, "hidden": (), "draws": 100, "guide": "laplace"}
    count = lse_vi.count_modes(POINTS, checkpoint=path, **few, **QUICK)
    return torch.cat([p.draws.flatten() for p in count.posteriors.values()])


@functools.cache
def laplace():
    return lse_vi.fit_posterior(
        POINTS, modes=1, hidden=(), steps=20, draws=50, guide="laplace", **QUICK
    )


def chains(path):
    few = {"chains": 4, "draws": 20, "warmup": 10}
    return lse_vi.sample_posterior(laplace(), checkpoint=path, **few, **QUICK).theta.flatten()


FITS = [density, potential, guide, drawn, memory, polished, posterior, counted, chains]


def run(fit, path, answer):
    torch.set_num_threads(1)
    answer.send(fit(path).tolist())


@pytest.mark.slow
@pytest.mark.parametrize("fit", FITS)
def test_kills_lose_nothing(fit, tmp_path):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("there is no fork on this system")
    begun = time.perf_counter()
    expected = fit(None).tolist()
    length = time.perf_counter() - begun
    fork, chance = multiprocessing.get_context("fork"), random.Random(0)
    path, kills, resumed = tmp_path / "fit.pt", 0, 0
    while kills < KILLS:
        mine, theirs = fork.Pipe(duplex=False)
        child = fork.Process(target=run, args=(fit, path, theirs))
        resumed += path.exists()
        child.start()
        if mine.poll(length * chance.random()):  # it was done before
            assert mine.recv() == expected
            child.join()
            path.unlink(missing_ok=True)
            continue
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        kills += 1
    assert fit(path).tolist() == expected
    assert resumed > 0
    assert sorted(os.listdir(tmp_path))[0] == "fit.pt"
