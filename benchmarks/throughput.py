"""Energy and training step of K modes: a loop of separate modules, ours, and the floor.

``python -m benchmarks throughput [--dim 1] [--hidden 10 10] [--dtype float32]``

The loop is K modules of the usual kind, points as rows, with the same log-sum-exponential at the
end. The floor is what no layout can do without: one matrix product and one softplus for each layer,
all modes in one batch, with neither gates nor constraints nor the soft minimum.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from lse_vi import LSEICNN

MODES, BATCHES = (1, 10, 40), (200, 4096, 65536)
SECONDS = 0.6  # for each contender of a case


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
        widths = [*hidden, 1]
        self.first = nn.Parameter(torch.randn(modes * hidden[0], dim))
        self.inner = nn.ParameterList(
            torch.randn(modes, above, below) for below, above in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = softplus(self.first @ x.T).unflatten(0, (len(self.inner[0]), -1))
        for i, weight in enumerate(self.inner):
            h = weight @ h
            h = softplus(h) if i + 1 < len(self.inner) else h
        return h


def forward_and_backward(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """The mean energy and its gradient in the parameters."""

    def work() -> None:
        model.zero_grad()
        model(x).mean().backward()

    return work


def force(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """grad E at every point: analytic where the model has it, else by autograd."""
    if isinstance(model, LSEICNN):
        return torch.no_grad()(lambda: model.gradient(x))
    point = x.clone().requires_grad_()
    return lambda: torch.autograd.grad(model(point).sum(), point)


WORK = {"forward and backward": forward_and_backward, "gradient in x": force}


def race(contenders: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each, run in turns so that a busy moment hits all alike."""
    for work in contenders.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    until = time.perf_counter() + SECONDS * len(contenders)
    while time.perf_counter() < until or len(times["loop"]) < 5:
        for name, work in contenders.items():
            began = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - began)
    return {name: float(np.median(values)) for name, values in times.items()}


def run(dim: int = 1, hidden: Sequence[int] = (10, 10), dtype: str = "float32") -> dict[str, Any]:
    """Every number of modes and batch size."""
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, dtype))
    cases = []
    for modes in MODES:
        models = {
            "loop": Loop(dim, modes, hidden),
            "ours": LSEICNN(dim, modes, hidden=hidden),
            "floor": Floor(dim, modes, hidden),
        }
        for batch in BATCHES:
            x = torch.randn(batch, dim)
            for name, work in WORK.items():
                seconds = race({who: work(model, x) for who, model in models.items()})
                cases.append(
                    {
                        "work": name,
                        "modes": modes,
                        "batch": batch,
                        "loop_over_ours": seconds["loop"] / seconds["ours"],
                        "ours_over_floor": seconds["ours"] / seconds["floor"],
                        "microseconds": 1e6 * seconds["ours"],
                    }
                )
    return {
        "benchmark": "throughput",
        "dim": dim,
        "hidden": list(hidden),
        "dtype": dtype,
        "threads": torch.get_num_threads(),
        "cases": cases,
    }


def table(result: dict[str, Any]) -> str:
    """The result as the terminal shows it."""
    lines = [f"{'':>22}{'modes':>6}{'batch':>8}{'loop / ours':>13}{'ours / floor':>14}{'ours':>12}"]
    lines += [
        f"{case['work']:>22}{case['modes']:6d}{case['batch']:8d}{case['loop_over_ours']:13.1f}"
        f"{case['ours_over_floor']:14.2f}{case['microseconds']:9.0f} us"
        for case in result["cases"]
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, print the table and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks throughput", description=__doc__)
    parser.add_argument("--dim", type=int, default=1)
    parser.add_argument("--hidden", type=int, nargs="+", default=[10, 10])
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    result = run(**vars(parser.parse_args(arguments)))
    print(table(result))
    print(json.dumps(result))
