"""Whether rounding decides: counts of modes of data that are moved by a billionth of their spread.

``python -m benchmarks steadiness [--moves 10] [--cases walls-1-1000 ...] [--threads 1]``

Twelve data sets, two or three parts each: separated or overlapping normals, walls (exponential and
uniform laws) and skewed laws, in one and two dimensions. Each is fitted as it is and after moves by
normal noise of 1e-9 and of 1e-6 of its deviation. The numbers of modes are compared, and the
log-likelihood of 10,000 other points, in nats per point.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence

import numpy as np
import torch
from tqdm.auto import tqdm

from benchmarks.records import Record
from data_gen.arrays import FloatArray
from lse_vi import fit_density

Part = Callable[[np.random.Generator, int], FloatArray]  # n points of one part, (n, dim)
SIZES = (1e-9, 1e-6)  # of a move, in deviations of the data
OTHERS = 10_000  # points on which fits are judged
TURN = np.array([[0.8, -0.6], [0.6, 0.8]])  # a rotation by 37 degrees


def normal(*loc: float, scale: float | Sequence[float] = 1.0) -> Part:
    """A normal law at ``loc`` with independent coordinates."""
    return lambda rng, n: np.array(loc) + np.array(scale) * rng.standard_normal((n, len(loc)))


LAWS: dict[str, tuple[Part, ...]] = {
    "separated-1": (normal(-4), normal(0, scale=0.6), normal(4)),
    "overlapping-1": (normal(-1.3), normal(1.3)),
    "walls-1": (
        lambda rng, n: -rng.exponential(size=(n, 1)),
        lambda rng, n: 3 + rng.exponential(size=(n, 1)),
    ),
    "skewed-1": (
        lambda rng, n: rng.gumbel(size=(n, 1)),
        lambda rng, n: 8 - rng.gamma(2.0, size=(n, 1)),
    ),
    "separated-2": (normal(-4, -4), normal(4, 0, scale=(1, 0.5)), normal(-4, 5)),
    "overlapping-2": (
        normal(0, 0),
        lambda rng, n: 1.5 + rng.standard_normal((n, 2)) * [2, 0.5] @ TURN,
    ),
    "walls-2": (
        lambda rng, n: rng.exponential(size=(n, 2)) @ TURN,
        lambda rng, n: rng.uniform(-1, 1, (n, 2)) * [2, 1] - 3,
    ),
    "skewed-2": (
        lambda rng, n: rng.gumbel(size=(n, 2)) @ TURN,
        lambda rng, n: rng.gamma(2.0, size=(n, 2)) @ -TURN + [6, -4],
    ),
}
CASES = {
    f"{name}-{n}": (LAWS[name], n)
    for name, sizes in {
        **dict.fromkeys(("separated-1", "overlapping-1", "walls-1", "skewed-1"), (300, 1000)),
        **dict.fromkeys(("separated-2", "skewed-2"), (300,)),
        **dict.fromkeys(("overlapping-2", "walls-2"), (1000,)),
    }.items()
    for n in sizes
}


def draw(parts: Sequence[Part], n: int, rng: np.random.Generator) -> FloatArray:
    """``n`` points (n, dim), each of a random part."""
    label = rng.integers(0, len(parts), n)
    points = np.stack([part(rng, n) for part in parts])
    return points[label, np.arange(n)]


def judged(x: FloatArray, others: FloatArray) -> tuple[int, float]:
    """The number of modes of a fit, and its mean log-likelihood on other points."""
    fit = fit_density(x, progress=False)
    with torch.no_grad():
        return int(fit.active_modes), float(fit.density.log_prob(torch.as_tensor(others)).mean())


def run(cases: Sequence[str] = tuple(CASES), moves: int = 10, threads: int = 1) -> Record:
    """All fits of ``cases`` with so many moves of each size, on so many threads."""
    torch.set_num_threads(threads)
    rows = []
    for case in (bar := tqdm(cases, mininterval=1.0)):
        bar.set_description(case)
        parts, n = CASES[case]
        rng = np.random.default_rng(list(CASES).index(case))
        x, others = draw(parts, n, rng), draw(parts, OTHERS, rng)
        count, log_likelihood = judged(x, others)
        row: Record = {"case": case, "modes": count, "log_likelihood": log_likelihood}
        for size in SIZES:
            noise = size * x.std(0) * rng.standard_normal((moves, *x.shape))
            ends = [judged(x + step, others) for step in noise]
            row[f"{size:g}"] = {
                "flips": sum(modes != count for modes, _ in ends),
                "largest_change": max(abs(value - log_likelihood) for _, value in ends),
            }
        rows.append(row)
        bar.write(line(row))  # a run takes half an hour: what is measured is shown at once
    return {"benchmark": "steadiness", "moves": moves, "threads": threads, "rows": rows}


def line(row: Record) -> str:
    """One case, as the terminal shows it."""
    ends = [row[f"{size:g}"] for size in SIZES]
    return f"{row['case']:<20}{row['modes']:>6}" + "".join(
        f"{e['flips']:>11} flips {e['largest_change']:6.4f}" for e in ends
    )


def table(result: Record) -> str:
    """The result as the terminal shows it."""
    heads = [f"{f'moves of {size:g}':>24}" for size in SIZES]
    lines = [f"{'case':<20}{'modes':>6}" + "".join(heads)]
    lines += [line(row) for row in result["rows"]]
    for size in SIZES:
        same = sum(result["moves"] - row[f"{size:g}"]["flips"] for row in result["rows"])
        lines.append(f"moves of {size:g}: {same} of {result['moves'] * len(result['rows'])} alike")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, print the table and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks steadiness", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--moves", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    result = run(**vars(parser.parse_args(arguments)))
    print(table(result))
    print(json.dumps(result))
