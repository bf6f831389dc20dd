"""Two processes against one: a density fit, the guide of a posterior, and simulated trajectories.

``python -m benchmarks scaling [--processes 2] [--n 400000]`` starts itself under ``torchrun`` (gloo
on the CPU, nccl on GPUs), first with one process, then with more, one thread for each. Compared are
the traces of the loss, which must be equal up to rounding, and the throughput.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer.autoguide import AutoNormal

from benchmarks.records import Record
from data_gen import gillespie, schlogl
from lse_vi import fit_density
from lse_vi.fitting import average_, own_share, processes

STEPS = 100


def density(x: torch.Tensor) -> tuple[list[float], float]:
    """Negative log-likelihoods of ``fit_density`` with all points in every step."""
    fit = fit_density(
        x, modes=1, steps=STEPS, polish=0, held_out=0.01, batch_size=len(x), progress=False
    )
    return fit.history["loss"], STEPS * len(x)


def svi(x: torch.Tensor) -> tuple[list[float], float]:
    """ELBOs of Pyro's SVI for a mixture of two normals: gradients are averaged before each step."""
    own = own_share(x[:, 0])

    def model() -> None:
        weight = pyro.sample("weight", dist.Beta(2.0, 2.0))
        loc = pyro.sample("loc", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
        mix = dist.Categorical(torch.stack([weight, 1 - weight], -1))
        with pyro.plate("data", len(own)), pyro.poutine.scale(scale=float(processes())):
            pyro.sample("y", dist.MixtureSameFamily(mix, dist.Normal(loc, 1.0)), obs=own)

    pyro.clear_param_store()
    guide = AutoNormal(model)
    guide()
    elbo = pyro.infer.Trace_ELBO()
    optimiser = torch.optim.Adam(guide.parameters(), lr=0.02)
    trace = []
    for step in range(STEPS):
        pyro.set_rng_seed(step)  # the same draws on every process
        optimiser.zero_grad()
        loss = elbo.differentiable_loss(model, guide)
        loss.backward()
        average_(p.grad for p in guide.parameters() if p.grad is not None)
        optimiser.step()
        total = loss.detach().clone()
        average_([total])
        trace.append(float(total) / len(x))
    return trace, STEPS * len(x)


def trajectories(count: int) -> tuple[list[float], float]:
    """Mean final counts of Schlögl trajectories, each process with numbers of its own."""
    rank, world = int(os.environ["RANK"]), processes()
    first, stop = rank * count // world, (rank + 1) * count // world
    counts = gillespie.simulate(
        schlogl.network(), [schlogl.X0], [10.0], stop - first, first=first, threads=1
    )
    total = torch.tensor([float(counts.sum()) * world])
    average_([total])
    return [float(total) / count], count


def timed(work: Callable[[], tuple[list[float], float]]) -> Record:
    began = time.perf_counter()
    trace, amount = work()
    return {"trace": trace, "throughput": amount / (time.perf_counter() - began)}


def worker(file: str, n: int) -> None:
    """One process: all cases, the results written by the first."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rng = np.random.default_rng(0)
    low = rng.random((n, 1)) < 0.4
    x = torch.as_tensor(rng.standard_normal((n, 2)) + np.where(low, -2.0, 2.0))
    for work in (
        lambda: density(x[:1000]),
        lambda: svi(x[:1000]),
        lambda: trajectories(processes()),
    ):
        work()  # not timed: the first run imports and compiles
    results = {
        "density": timed(lambda: density(x)),
        "svi": timed(lambda: svi(x)),
        "ssa": timed(lambda: trajectories(400)),
    }
    if torch.distributed.get_rank() == 0:
        Path(file).write_text(json.dumps(results))
    torch.distributed.destroy_process_group()


def launch(count: int, n: int) -> Record:
    """The results of ``count`` processes."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "results.json")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={count}", "-m", "benchmarks.scaling", file, str(n)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        return json.loads(Path(file).read_text())


def run(processes: int = 2, n: int = 400_000) -> Record:
    """One process and several."""
    alone, together = launch(1, n), launch(processes, n)
    cases = {}
    for name, one in alone.items():
        a, b = np.array(one["trace"]), np.array(together[name]["trace"])
        cases[name] = {
            "largest_difference": float(np.abs(a - b).max() / np.abs(a).max()),
            "speedup": together[name]["throughput"] / one["throughput"],
            "throughput": one["throughput"],
        }
    return {"benchmark": "scaling", "processes": processes, "n": n, "cases": cases}


def table(result: Record) -> str:
    """The result as the terminal shows it."""
    heads = f"{'points or paths / s':>22}{'speed-up':>10}{'difference of traces':>23}"
    lines = [f"{result['processes']} processes{heads:>67}"]
    lines += [
        f"{name:>11}{case['throughput']:34.3g}{case['speedup']:10.2f}"
        f"{case['largest_difference']:23.1e}"
        for name, case in result["cases"].items()
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, print the table and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scaling", description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--n", type=int, default=400_000)
    result = run(**vars(parser.parse_args(arguments)))
    print(table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    worker(sys.argv[1], int(sys.argv[2]))
