"""Elastic instability: a material with two phases, learned from its stress alone (Fig. 9-11).

``python -m models elasticity [--seed 0] [--out results/elasticity] [--quick]``

Four models, each with the paper's isotropic invariants and with a transverse set: ``fixed``, a
potential for the material whose phases are held (c = 0.5); and for the material whose phases
change ``literal``, the paper's rates of internal states in time; ``memory``, rates per length of
strain that are zero within an elastic range; ``consistent``, states that obey the second law
whatever the parameters are.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.integrate import trapezoid
from sklearn.metrics import r2_score
from torch import Tensor

from data_gen import elasticity as material
from data_gen.arrays import FloatArray
from lse_vi import (
    LSEICNN,
    Elastic,
    Isotropic,
    Memory,
    Play,
    TransverselyIsotropic,
    fit_memory,
    polish_memory,
)
from lse_vi.materials import (
    ArcLength,
    Euler,
    EvenSteps,
    Exponential,
    Invariants,
    Rate,
    RelaxationRate,
    Time,
)
from models import elasticity_figure
from models.command import Metrics, run_study

TRAIN, TEST, POINTS = 320, 80, 101
GENTLE = 0.25  # share of the training paths that stay elastic
GENTLE_PEAKS = 0.02, -material.FORWARD_STRAINS[0]
DURATION = 5.0  # of a path, for the model that goes by time
STEPS = {"fixed": 1000, "literal": 1500, "memory": 3000, "consistent": 3000}
POLISH = {"memory": 2000}  # steps of L-BFGS afterwards, on all paths at once
RATES = {"fixed": 0.02, "literal": 0.01, "memory": 0.02, "consistent": 0.02}  # learning rates
TWO_PHASE = ("literal", "memory", "consistent")
SETS: dict[str, Callable[[], Invariants]] = {
    "isotropic": Isotropic,
    "transverse": TransverselyIsotropic,
}
LOOPS = np.linspace(0.05, 0.07, 11)  # peaks as in the data, but elastic: below 0.072
Results = dict[str, dict[str, dict[str, float]]]  # measure, model, set of invariants


class Paths(NamedTuple):
    """Paths and what the material does along them.

    Attributes:
        strain: E, (paths, times, 3, 3).
        fixed: S at c = 0.5.
        exact: c, S, kappa and dissipation of the material whose phases change.
    """

    strain: FloatArray
    fixed: FloatArray
    exact: material.Response

    def stress(self, kind: str) -> FloatArray:
        """What the model ``kind`` is to learn, (paths, times, 3, 3)."""
        return self.fixed if kind == "fixed" else self.exact.stress


def sample(train: int, test: int, seed: int) -> tuple[Paths, Paths]:
    """Random sawtooth paths in uniaxial strain: those to fit, and those held out.

    A share of those to fit is made to stay elastic: by chance hardly any path goes back and forth
    within the elastic range, and without such paths a fit does not see that small errors add up
    there.
    """
    e11 = material.sawtooth(train + test, points=POINTS, seed=seed)
    gentle = int(GENTLE * train)
    e11[:gentle] = material.sawtooth(gentle, points=POINTS, peaks=GENTLE_PEAKS, seed=seed)
    return along(e11[:train]), along(e11[train:])


def along(e11: FloatArray) -> Paths:
    """What the material does along paths of uniaxial strain, (paths, times)."""
    strain = material.uniaxial(e11)
    held = np.full_like(e11, material.FIXED_PHASE)
    return Paths(strain, material.stress(strain, held), material.respond(strain))


def blank(kind: str, invariants: Invariants, strain: Tensor) -> Elastic:
    """A model before its fit, of the paper's size where it has one."""
    units: dict[str, Any] = {"strain_unit": 0.15, "stress_unit": 0.1}

    def psi(states: int = 0) -> LSEICNN:
        return LSEICNN(invariants.dim + states, 2, hidden=(19, 19), dtype=strain.dtype)

    if kind == "fixed":
        return Elastic(psi(), invariants, **units)
    if kind == "literal":
        rate = Rate(invariants.rate_dim, 6, hidden=(15, 15), dtype=strain.dtype)
        return Memory(psi(6), invariants, rate, stepper=Euler(), clock=Time(), **units)
    if kind == "memory":
        relaxation = RelaxationRate(invariants.dim, 4, dtype=strain.dtype)
        units |= {"stepper": Exponential(), "clock": ArcLength(), "steps": EvenSteps(0.025)}
        return Memory(psi(4), invariants, relaxation, **units)
    return Play(psi(), invariants, **units).start(strain)


def respond(model: Elastic, strain: FloatArray) -> FloatArray:
    """The stress of a fitted model along paths, at evenly spaced times."""
    with torch.no_grad():
        return model(torch.as_tensor(strain), clock(strain)).stress.numpy()


def clock(strain: FloatArray) -> Tensor:
    """The times of the samples, (times,)."""
    return torch.linspace(0.0, DURATION, strain.shape[-3], dtype=torch.float64)


def learn(kind: str, name: str, train: Paths, seed: int, share: float, folder: Path) -> Elastic:
    """Fit the model ``kind`` with the invariants ``name`` in single precision.

    ``share`` is the part of all steps that is taken.
    """
    torch.manual_seed(seed)
    strain = torch.as_tensor(train.strain, dtype=torch.float32)
    stress = torch.as_tensor(train.stress(kind), dtype=torch.float32)
    times = clock(train.strain).float()
    model = fit_memory(
        blank(kind, SETS[name](), strain),
        strain,
        stress,
        times=times,
        steps=int(share * STEPS[kind]),
        learning_rate=RATES[kind],
        seed=seed,
        checkpoint=folder / f"{kind}-{name}.pt",
    ).model
    if kind in POLISH:
        polish_memory(
            model,
            strain,
            stress,
            times=times,
            steps=int(share * POLISH[kind]),
            checkpoint=folder / f"{kind}-{name}-polish.pt",
        )
    return model.double().requires_grad_(False)


def measure(model: Elastic, kind: str, test: Paths) -> dict[str, float]:
    """How well a model does along held-out paths; the measures of the table."""
    exact, fitted = test.stress(kind), respond(model, test.strain)
    r2 = [float(r2_score(exact[..., i, i].ravel(), fitted[..., i, i].ravel())) for i in (0, 1)]
    if kind == "fixed":
        return {"r2": r2[0], "r2_lateral": r2[1]}
    finer = respond(model, refined(test.strain))[:, ::2]
    return {
        "r2": r2[0],
        "r2_lateral": r2[1],
        "dissipation_error": dissipation_error(fitted, test),
        "negative_dissipation_share": negative_share(model, test.strain),
        "negative_dissipation_share_random": negative_share(model, walks(TEST)),
        "cycle_work": cycle_work(model),
        "loop_error": loop_error(model),
        "refinement_error": float(_relative(finer - fitted, exact).max()),
    }


def dissipation_error(stress: FloatArray, test: Paths) -> float:
    """Mean relative error of the work of a path, which ends where it began.

    Over the paths that dissipate more than a tenth of a full cycle.
    """
    work = trapezoid(stress[..., 0, 0], test.strain[..., 0, 0], axis=-1)
    exact = test.exact.dissipation.sum(-1)
    counts = exact > 0.1 * material.CYCLE_DISSIPATION
    return float(np.abs(work / np.where(counts, exact, 1.0) - 1.0)[counts].mean())


def cycle_work(model: Elastic) -> float:
    """Work of one full cycle, to the largest compression and back; exact is 0.012."""
    e11 = -material.PEAKS[1] * (1 - np.abs(np.linspace(-1, 1, POINTS)))
    stress = respond(model, material.uniaxial(e11)[None])
    return float(trapezoid(stress[0, :, 0, 0], e11))


def negative_share(model: Elastic, strain: FloatArray) -> float:
    """Share of steps that dissipate less than -1e-8."""
    lost = model.dissipation(torch.as_tensor(strain), clock(strain))
    return float((lost < -1e-8).double().mean())


def walks(paths: int) -> FloatArray:
    """Random walks in full strain, from no strain to about 0.1: (paths, times, 3, 3)."""
    steps = np.random.default_rng(0).normal(scale=0.01, size=(paths, POINTS - 1, 3, 3))
    symmetric = 0.5 * (steps + steps.swapaxes(-1, -2))
    return np.pad(symmetric.cumsum(1), ((0, 0), (1, 0), (0, 0), (0, 0)))


def loop_error(model: Elastic) -> float:
    """Largest change of stress, over its peak, after two loops within the elastic range."""
    wave = np.interp(np.arange(POINTS) / (POINTS - 1), [0, 0.25, 0.5, 0.75, 1], [0, -1, 0, -1, 0])
    stress = respond(model, material.uniaxial(LOOPS[:, None] * wave))
    return float(_relative(stress[:, [-1]] - stress[:, [0]], stress).max())


def refined(strain: FloatArray) -> FloatArray:
    """The same paths with twice the steps."""
    finer = np.repeat(strain, 2, axis=1)[:, :-1]
    finer[:, 1::2] = 0.5 * (strain[:, 1:] + strain[:, :-1])
    return finer


def _relative(difference: FloatArray, stress: FloatArray) -> FloatArray:
    """Largest difference of S11 of each path over its largest stress."""
    return np.abs(difference[..., 0, 0]).max(-1) / np.abs(stress[..., 0, 0]).max(-1)


def run(seed: int = 0, out: Path = Path("results/elasticity"), quick: bool = False) -> Metrics:
    """The whole study; writes the figures to ``out`` and returns the metrics.

    An interrupted run, called again with the same arguments, goes on where it stopped.
    """
    began = time.perf_counter()
    folder = out / f"unfinished-seed{seed}{'-quick' * quick}"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it brings
    train, test = sample(TRAIN, TEST, seed)

    models: dict[str, dict[str, Elastic]] = {}
    results: Results = {}
    for kind in STEPS:
        for name in SETS:
            model = learn(kind, name, train, seed, 0.1 if quick else 1.0, folder)
            models.setdefault(kind, {})[name] = model
            for key, value in measure(model, kind, test).items():
                results.setdefault(key, {}).setdefault(kind, {})[name] = value

    metrics: Metrics = {
        "r2_fixed": results["r2"]["fixed"],
        "r2_two_phase": results["r2"]["memory"],
        "r2_two_phase_literal": results["r2"]["literal"],
        "r2_two_phase_consistent": results["r2"]["consistent"],
        **{key: values for key, values in results.items() if key != "r2"},
        "seed": seed,
    }
    fitted = {
        kind: {name: respond(model, test.strain) for name, model in by_set.items()}
        for kind, by_set in models.items()
    }
    elasticity_figure.data(test.strain, test.exact, out / "figure9.png")
    elasticity_figure.parity(
        {kind: test.stress(kind) for kind in models}, fitted, out / "figure10.png"
    )
    elasticity_figure.held_out(test.strain, test.exact.stress, fitted, out / "figure11.png")
    metrics["seconds"] = time.perf_counter() - began
    shutil.rmtree(folder)
    return metrics


def table(metrics: Metrics) -> str:
    """The metrics as the terminal shows them."""
    rows = [("fixed phase", "r2_fixed", "fixed"), ("literal", "r2_two_phase_literal", "literal"),
            ("memory", "r2_two_phase", "memory"),
            ("consistent", "r2_two_phase_consistent", "consistent")]  # fmt: skip
    lines = [
        f"{TEST} paths that were not fitted",
        "",
        "      model  invariants    R2 of S11  dissipated  negative  elastic loop  twice the steps",
    ]
    for label, key, kind in rows:
        for name in SETS:
            line = f"{label:>11}  {name:<10}{metrics[key][name]:13.5f}"
            if kind in TWO_PHASE:
                line += (
                    f"{metrics['dissipation_error'][kind][name]:12.2%}"
                    f"{metrics['negative_dissipation_share'][kind][name]:10.1%}"
                    f"{metrics['loop_error'][kind][name]:14.2%}"
                    f"{metrics['refinement_error'][kind][name]:17.2%}"
                )
            lines.append(line)
    lines += [
        "",
        "dissipated: mean relative error of the work of a path; negative: steps that dissipate "
        "less than -1e-8;",
        "elastic loop, twice the steps: change of stress over its peak, the worst of all paths",
        "a full cycle of the consistent model takes "
        + ", ".join(f"{v:.5f} ({name})" for name, v in metrics["cycle_work"]["consistent"].items())
        + f"; exact {material.CYCLE_DISSIPATION}",
        f"{metrics['seconds']:.0f} s",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study from the command line."""
    run_study("elasticity", __doc__, run, table, arguments, quick=False)
