"""Energy, its derivatives and a training step of K modes: a loop of modules, ours, and the floor.

``python -m benchmarks throughput [--modes 1 10 40] [--batch 200 4096 65536] [--dim 1 7 30]
[--hidden 10 10 --hidden 32 32] [--dtype float32 float64] [--compile]``

The loop is K modules of the usual kind, points as rows, with the same log-sum-exponential at the
end. The floor is what no layout can do without: the matrix products of the maps that read x and of
the inner maps, and the softplus passes, all modes in one batch; it has neither gates nor
constraints nor the soft minimum. With ``--compile`` ours is ``pot.compile()``, which needs a C++
compiler and half a minute; it concerns the energy, not the analytic gradient.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from itertools import pairwise, product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from benchmarks.records import Record
from lse_vi import LSEICNN

SECONDS = 0.6  # for each contender of a case
WARM, TURN = 0.1, 0.02  # before the first turn, and in one


class PlainICNN(nn.Module):
    """One convex network as most would write it: rows are points."""

    def __init__(self, dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [*hidden, 1]
        self.skip = nn.ModuleList(nn.Linear(dim, width) for width in widths)
        self.inner = nn.ParameterList(
            torch.randn(above, below) for below, above in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = softplus(self.skip[0](x))
        for i, (skip, raw) in enumerate(zip(self.skip[1:], self.inner, strict=True)):
            z = skip(x) + h @ (softplus(raw) / raw.shape[1]).T
            h = softplus(z) if i + 1 < len(self.inner) else z
        return h.squeeze(-1)


class Loop(nn.Module):
    """K networks in a Python loop, and their soft minimum."""

    def __init__(self, dim: int, modes: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(PlainICNN(dim, hidden) for _ in range(modes))
        self.alpha = nn.Parameter(torch.full((modes,), 2.9))
        self.log_rho = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        f = torch.stack([network(x) for network in self.networks], dim=-1)
        rho = self.log_rho.exp()
        gates = logsigmoid(10 * (self.alpha / 2 - 1))
        return -(torch.logsumexp(gates - rho * f, dim=-1) - np.log(f.shape[-1])) / rho


class Floor(nn.Module):
    """The matrix products and softplus passes alone, points along the last axis."""

    def __init__(self, dim: int, modes: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.modes, self.widths = modes, [*hidden, 1]
        self.weight = nn.Parameter(torch.randn(modes * sum(self.widths), dim))
        self.bias = nn.Parameter(torch.randn(modes * sum(self.widths), 1))
        self.inner = nn.ParameterList(
            torch.randn(modes, above, below) / below for below, above in pairwise(self.widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        affine = torch.addmm(self.bias, self.weight, x.T).unflatten(0, (self.modes, -1))
        z, *skips = affine.split(self.widths, dim=1)
        for weight, skip in zip(self.inner, skips, strict=True):
            z = torch.baddbmm(skip, weight, softplus(z))
        return z


def forward_and_backward(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """The mean energy and its gradient in the parameters."""

    def work() -> None:
        model.zero_grad()
        model(x).mean().backward()

    return work


def training_step(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """A step of Adam on the mean squared error."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-6)
    target = torch.zeros(len(x))

    def work() -> None:
        optimiser.zero_grad()
        (model(x) - target).square().mean().backward()
        optimiser.step()

    return work


def force(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """grad E at every point: analytic where the model has it, else by autograd."""
    if isinstance(model, LSEICNN):
        return torch.no_grad()(lambda: model.gradient(x))
    point = x.clone().requires_grad_()
    return lambda: torch.autograd.grad(model(point).sum(), point)


def curvature(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """The product of the Hessian at every point and a vector."""
    point, vector = x.clone().requires_grad_(), torch.ones_like(x)

    def work() -> None:
        if isinstance(model, LSEICNN):
            gradient = model.gradient(point)
        else:
            (gradient,) = torch.autograd.grad(model(point).sum(), point, create_graph=True)
        torch.autograd.grad(gradient, point, vector)

    return work


WORK = {
    "forward and backward": forward_and_backward,
    "training step": training_step,
    "gradient in x": force,
    "Hessian times vector": curvature,
}


def race(contenders: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each, in turns so that a busy moment hits all alike.

    A turn is several calls, of which the first is not counted: in a fit, too, a step finds the
    memory and the code of the step before.
    """
    for work in contenders.values():
        _calls(work, WARM)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    until = time.perf_counter() + SECONDS * len(contenders)
    while time.perf_counter() < until or len(times["loop"]) < 6:
        for name, work in contenders.items():
            work()
            times[name] += _calls(work, TURN)
    return {name: float(np.median(values)) for name, values in times.items()}


def _calls(work: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each call, for about so long."""
    times: list[float] = []
    while sum(times) < seconds:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


def run(
    dim: Sequence[int] = (1,),
    hidden: Sequence[Sequence[int]] = ((10, 10),),
    dtype: Sequence[str] = ("float32",),
    modes: Sequence[int] = (1, 10, 40),
    batch: Sequence[int] = (200, 4096, 65536),
    compile: bool = False,
) -> Record:
    """Every combination of the sizes given."""
    cases = []
    for precision, widths, d, k in product(dtype, hidden, dim, modes):
        torch.manual_seed(0)
        torch.set_default_dtype(getattr(torch, precision))
        models = {
            "loop": Loop(d, k, widths),
            "ours": LSEICNN(d, k, hidden=widths),
            "floor": Floor(d, k, widths),
        }
        if compile:
            models["ours"].compile(dynamic=False)
        for n, (name, work) in product(batch, WORK.items()):
            torch.compiler.reset()  # after eight sizes the compiler gives up on a function
            x = torch.randn(n, d)
            seconds = race({who: work(model, x) for who, model in models.items()})
            cases.append(
                {
                    "dtype": precision,
                    "hidden": list(widths),
                    "dim": d,
                    "modes": k,
                    "batch": n,
                    "work": name,
                    "loop_over_ours": seconds["loop"] / seconds["ours"],
                    "ours_over_floor": seconds["ours"] / seconds["floor"],
                    "microseconds": 1e6 * seconds["ours"],
                }
            )
    return {
        "benchmark": "throughput",
        "threads": torch.get_num_threads(),
        "compile": compile,
        "cases": cases,
    }


def table(result: Record) -> str:
    """The result as the terminal shows it."""
    lines, block = [], None
    for case in result["cases"]:
        if block != (block := (case["dtype"], case["hidden"], case["dim"])):
            title = f"{case['dtype']}, hidden {tuple(case['hidden'])}, dim {case['dim']}"
            heads = f"{'modes':>6}{'batch':>8}{'loop / ours':>13}{'ours / floor':>14}{'ours':>12}"
            lines.append(f"{title:<34}{heads}")
        lines.append(
            f"{case['work']:>34}{case['modes']:6d}{case['batch']:8d}{case['loop_over_ours']:13.1f}"
            f"{case['ours_over_floor']:14.2f}{case['microseconds']:9.0f} us"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, print the table and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks throughput", description=__doc__)
    parser.add_argument("--modes", type=int, nargs="+", default=[1, 10, 40])
    parser.add_argument("--batch", type=int, nargs="+", default=[200, 4096, 65536])
    parser.add_argument("--dim", type=int, nargs="+", default=[1])
    parser.add_argument("--hidden", type=int, nargs="+", action="append")
    parser.add_argument("--dtype", choices=("float32", "float64"), nargs="+", default=["float32"])
    parser.add_argument("--compile", action="store_true")
    options = vars(parser.parse_args(arguments))
    options["hidden"] = options["hidden"] or [[10, 10]]
    result = run(**options)
    print(table(result))
    print(json.dumps(result))
