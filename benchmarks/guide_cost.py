"""What a guide costs: seconds of fit_guide against the dimension and the number of modes.

``python -m benchmarks guide_cost [--dims 2 5 10 30 100] [--modes 1 2 4 8]``

The posterior is a mixture of unit normals, their means eight apart from each other along random
directions. Judged is the share of modes that were found, and the gap of the ELBO to log Z = 0.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence

import pyro
import pyro.distributions as dist
import torch
from torch.distributions import constraints

from benchmarks.records import Record
from lse_vi import AutoLSEICNN, fit_guide

DISTANCE = 8.0
DIM, MODES = 5, 2  # what is kept while the other changes


def target(dim: int, modes: int) -> Callable[[], None]:
    """A model without data: a mixture of unit normals."""
    generator = torch.Generator().manual_seed(dim + 1000 * modes)
    means = torch.randn(modes, dim, generator=generator)
    means = DISTANCE / 2**0.5 * means / means.norm(dim=-1, keepdim=True)
    if modes == 2:
        means[1] = -means[0]

    def model() -> None:
        x = pyro.sample("x", dist.ImproperUniform(constraints.real_vector, (), (dim,)))
        normals = dist.Normal(means, torch.ones(())).to_event(1)
        mixture = dist.MixtureSameFamily(dist.Categorical(torch.ones(modes)), normals)
        pyro.factor("density", mixture.log_prob(x))

    return model


def measure(dim: int, modes: int) -> Record:
    """One fit."""
    pyro.clear_param_store()
    model = target(dim, modes)
    began = time.perf_counter()
    result = fit_guide(model, AutoLSEICNN(model, modes=2 * modes), progress=False)
    return {
        "dim": dim,
        "modes": modes,
        "found": len(result.mode_weights),
        "elbo_gap": -float(result.elbo),
        "seconds": time.perf_counter() - began,
    }


def run(dims: Sequence[int] = (2, 5, 10, 30, 100), modes: Sequence[int] = (1, 2, 4, 8)) -> Record:
    """The dimension at two modes, then the modes in five dimensions."""
    torch.set_default_dtype(torch.float64)
    sizes = [(dim, MODES) for dim in dims] + [(DIM, k) for k in modes if k != MODES]
    cases = [measure(dim, k) for dim, k in sizes]
    return {"benchmark": "guide_cost", "cases": cases, "threads": torch.get_num_threads()}


def table(result: Record) -> str:
    """The result as the terminal shows it."""
    lines = [f"{'dim':>5}{'modes':>7}{'found':>7}{'ELBO gap':>11}{'seconds':>9}"]
    lines += [
        f"{case['dim']:5d}{case['modes']:7d}{case['found']:7d}{case['elbo_gap']:11.4f}"
        f"{case['seconds']:9.1f}"
        for case in result["cases"]
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, print the table and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks guide_cost", description=__doc__)
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 5, 10, 30, 100])
    parser.add_argument("--modes", type=int, nargs="+", default=[1, 2, 4, 8])
    result = run(**vars(parser.parse_args(arguments)))
    print(table(result))
    print(json.dumps(result))
