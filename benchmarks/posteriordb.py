"""Ten posteriors of posteriordb, against their reference draws.

``python -m benchmarks posteriordb --path DIR [--names arK ...] [--seed 0] [--nuts]``

DIR holds one JSON file ``{name, draws, data, reference}`` for each posterior. For ``fit_guide``,
``sample_smc`` after it, and Pyro's AutoMultivariateNormal with the same seconds of CPU (and, if
asked for, NUTS): the largest difference of means in reference deviations, the ratio of deviations
that is furthest from one, and seconds of CPU. A posterior agrees where the first is at most 0.1 and
the ratio within 0.9 to 1.1.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import pyro
import torch
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal
from torch import Tensor
from torch.distributions import biject_to

from benchmarks.posteriordb_models import MODELS, Data
from benchmarks.records import Record
from lse_vi import AutoLSEICNN, fit_guide, sample_smc

MEAN, LOW, HIGH = 0.1, 0.9, 1.1  # what agrees, as posteriordb has it
DRAWS = 10_000
NUTS_DRAWS = {"num_samples": 1000, "warmup_steps": 500}
RATE, STEPS = 0.01, 100  # of Adam for the normal guide, and steps between looks at the clock


class Agreement(NamedTuple):
    """How far draws are from the reference, in the worst parameter."""

    mean: float  # |difference| in reference deviations
    ratio: float  # of deviations

    @property
    def fine(self) -> bool:
        """Whether they agree."""
        return self.mean <= MEAN and LOW <= self.ratio <= HIGH


def judge(values: Mapping[str, Tensor], reference: Mapping[str, Any]) -> Agreement:
    """Compare draws (n, *shape) of sites with the reference's means and deviations."""
    means, ratios = [], []
    for name, truth in reference.items():
        match = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", name)
        assert match is not None, name
        value = values[match[1]]
        value = value.reshape(len(value), -1)[:, int(match[2] or 1) - 1]
        means.append(abs(float(value.mean()) - truth["mean"]) / truth["sd"])
        ratios.append(float(value.std()) / truth["sd"])
    return Agreement(max(means), max(ratios, key=lambda r: abs(r - 1)))


def complete(name: str, values: Mapping[str, Tensor], data: Data) -> dict[str, Tensor]:
    """The draws with the deterministic sites of their model; labels are put in order."""
    values = {site: value.detach() for site, value in values.items()}
    if name == "low_dim_gauss_mix":
        swap, theta = values["mu"][:, 0] > values["mu"][:, 1], values["theta"]
        pairs = {site: values[site] for site in ("mu", "sigma")}
        values = {s: torch.where(swap.unsqueeze(1), v.flip(1), v) for s, v in pairs.items()}
        values["theta"] = torch.where(swap, 1 - theta, theta)

    def computed(one: dict[str, Tensor]) -> dict[str, Tensor]:
        trace = pyro.poutine.trace(pyro.condition(MODELS[name], one)).get_trace(data)
        return {
            site: node["value"]
            for site, node in trace.nodes.items()
            if node["type"] == "sample" and node["infer"].get("_deterministic")
        }

    with pyro.validation_enabled(False):
        return values | torch.vmap(computed)(values)


def run_one(file: Path, seed: int, nuts: bool) -> Record:
    """All contenders on one posterior."""
    content = json.loads(file.read_text())
    name, reference = content["name"], content["reference"]
    kind = torch.get_default_dtype()
    data = {key: torch.tensor(value).to(kind) for key, value in content["data"].items()}
    model, row = MODELS[name], {"posterior": content["name"]}

    def note(method: str, values: Mapping[str, Tensor], start: float, **more: Any) -> None:
        seconds = process_time() - start
        agreement = judge(complete(name, values, data), reference)
        row[method] = {**agreement._asdict(), "agrees": agreement.fine, "seconds": seconds, **more}

    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    start = process_time()
    guide = AutoLSEICNN(model)
    res = fit_guide(model, guide, data, seed=seed, progress=False)
    z = guide.get_posterior().sample((DRAWS,))
    flagged = {"k_hat": res.k_hat, "warnings": len(res.warnings)}
    note("fit_guide", torch.vmap(guide.constrain)(z), start, **flagged)
    seconds, start = row["fit_guide"]["seconds"], process_time()
    draws = sample_smc(model, guide, data, seed=seed, progress=False)
    values = {site: value.flatten(0, 1) for site, value in draws.samples.items()}
    note("sample_smc", values, start, r_hat=draws.r_hat, warnings=len(draws.warnings))
    note("AutoMultivariateNormal", normal(model, data, seconds), process_time() - seconds)
    if nuts:
        start = process_time()
        chain = MCMC(NUTS(model), **NUTS_DRAWS, disable_progbar=True)
        chain.run(data)
        note("NUTS", chain.get_samples(), start)
    return row


def at_zero(site: Any) -> Tensor:
    """Zero in unconstrained coordinates: Pyro's own starts need priors that can be sampled."""
    transform = biject_to(site["fn"].support)
    start: Tensor = transform(torch.zeros(transform.inverse_shape(site["fn"].shape())))
    return start


def normal(model: Any, data: Data, seconds: float) -> dict[str, Tensor]:
    """Draws of Pyro's AutoMultivariateNormal, trained for so many seconds of CPU."""
    pyro.clear_param_store()
    guide = AutoMultivariateNormal(model, init_loc_fn=at_zero)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": RATE}), Trace_ELBO())
    start = process_time()
    while process_time() - start < seconds:
        for _ in range(STEPS):
            svi.step(data)
    sites = list(guide(data))
    draws = Predictive(guide, num_samples=DRAWS)(data)
    return {site: draws[site].reshape(DRAWS, *draws[site].shape[1:]) for site in sites}


def run(path: Path, names: Sequence[str] = (), seed: int = 0, nuts: bool = False) -> Record:
    """All posteriors of a folder, or those of the given names."""
    files = [file for file in sorted(path.glob("*.json")) if not names or file.stem in names]
    rows = []
    for file in files:
        rows.append(run_one(file, seed, nuts))
        print(table({"rows": rows[-1:]}), flush=True)
    return {"benchmark": "posteriordb", "seed": seed, "rows": rows}


def table(result: Record) -> str:
    """The result as the terminal shows it."""
    lines = []
    for row in result["rows"]:
        lines.append(f"{row['posterior']:<28}{'mean':>8}{'ratio':>8}{'CPU s':>8}")
        for method, one in row.items():
            if method != "posterior":
                state = "agrees" if one["agrees"] else "differs"
                flag = ", warns" if one.get("warnings") else ""
                lines.append(
                    f"{method:>28}{one['mean']:>8.3f}{one['ratio']:>8.3f}{one['seconds']:>8.1f}  "
                    f"{state}{flag}"
                )
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Measure, and print a line of JSON; the tables are printed as they come."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks posteriordb", description=__doc__)
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--names", nargs="*", default=(), choices=sorted(MODELS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nuts", action="store_true")
    args = parser.parse_args(argv)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    print(json.dumps(run(args.path, args.names, args.seed, args.nuts)))
