"""Odd calls that were found once to hang, to end in nonsense, or in an error of somebody else's."""

import math
import multiprocessing

import numpy as np
import pandas as pd
import pytest
import torch

from lse_vi import (
    LSEICNN,
    AutoLSEICNN,
    Elastic,
    Isotropic,
    Memory,
    ModeCount,
    Quadrature,
    compare_densities,
    fit_density,
    fit_guide,
    fit_posterior,
    gradient_flow,
    load,
    sample_posterior,
    sample_smc,
)
from lse_vi.materials import Rate
from lse_vi.plots import plot_density, plot_potential

X = np.concatenate([np.linspace(-3, -2, 15), np.linspace(1, 3, 15)])
QUICK = {"modes": 1, "hidden": (), "steps": 3, "polish": 1, "restarts": 1, "progress": False}
TABLE = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": list("abcd")})


def fit(x=X, **kwargs):
    return fit_density(x, **{**QUICK, **kwargs})


def guide(square):
    return AutoLSEICNN(square, modes=2, hidden=())


REFUSED = {
    "a negative scale": (lambda: LSEICNN(1, 2).scale_energy_(-1), "factor must be positive"),
    "an offset of NaN": (lambda: LSEICNN(1, 2).add_offset_(math.nan), "offset must be finite"),
    "a class of invariants": (lambda: Elastic(LSEICNN(3, 2), Isotropic), "invariants must be an"),
    "a stepper of text": (
        lambda: Memory(LSEICNN(5, 2), Isotropic(), Rate(9, 2), stepper="a"),
        r"stepper must be an object such as Euler\(\)",
    ),
    "no posteriors": (lambda: ModeCount({}), "posteriors must hold one posterior or more"),
    "nothing to compare": (lambda: compare_densities({}), "posteriors must be one or more"),
    "nodes of text": (lambda: Quadrature(max_nodes="a"), "max_nodes must be an integer"),
    "booleans": (lambda: fit(X > 0), "x must hold real numbers, but got booleans"),
    "time without an end": (
        lambda: gradient_flow(LSEICNN(1, 2), torch.zeros(1, 1), [0, math.inf]),
        "times must be finite",
    ),
    "very wide networks": (lambda: fit(hidden=(1_000_000,)), "hidden and modes must be smaller"),
    "a column of text": (lambda: fit(TABLE), "float and str in column 'b'"),
    "strings": (lambda: fit(["a", "b"]), "x must hold real numbers, but got text"),
    "a number for a shape": (lambda: fit().density.sample(100), r"sample\(\(100,\)\) gives 100"),
    "a potential without a window": (lambda: plot_potential(fit()), "bounds, or data that vary"),
}


@pytest.mark.parametrize("call", REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(call):
    odd, match = REFUSED[call]
    with pytest.raises((ValueError, TypeError), match=match):
        odd()


TAKEN = {
    "a seed of NumPy": lambda: fit(seed=np.int64(3)),
    "reversed": lambda: fit(X[::-1]),
    "big endian": lambda: fit(X.astype(">f8")),
    "a result for its density": lambda: plot_density(fit()),
}


@pytest.mark.parametrize("call", TAKEN)
def test_what_can_be_meant_is_taken(call):
    TAKEN[call]()


def test_odd_calls_of_guides(square, nine):
    made = guide(square)
    with pytest.raises(ValueError, match="guide: it has not met its model yet"):
        made.median()
    with pytest.raises(ValueError, match="seed must be at least 0"):
        fit_guide(square, made, nine, seed=-1, progress=False)
    draws = sample_smc(square, made, nine, draws=40, progress=False)
    with pytest.raises(ValueError, match="mode must be below 2"):
        draws.select(5)
    with pytest.raises(TypeError, match="quantiles must be a sequence"):
        made.quantiles(0.5)


def test_too_few_draws_of_a_chain():
    posterior = fit_posterior(X, modes=1, hidden=(), draws=20, guide="laplace", progress=False)
    with pytest.raises(ValueError, match="draws must be at least 4"):
        sample_posterior(posterior, draws=3, progress=False)


def test_a_file_with_nan_is_refused(tmp_path):
    pot = LSEICNN(1, 2)
    with torch.no_grad():
        pot.alpha[0] = math.nan
    pot.save(tmp_path / "pot.pt")
    with pytest.raises(ValueError, match="alpha holds NaN"):
        load(tmp_path / "pot.pt")


def fitted(path, answer):
    torch.set_num_threads(1)
    few = {"modes": 2, "hidden": (3,), "steps": 60, "restarts": 1, "polish": 20}
    res = fit_density(X, checkpoint=path, progress=False, **few)
    answer.send([p.tolist() for p in res.density.potential.parameters()])


def test_processes_with_one_checkpoint_do_not_kill_each_other(tmp_path):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("there is no fork on this system")
    fork, found = multiprocessing.get_context("fork"), []
    for path in (None, tmp_path / "fit.pt"):
        pipes = [fork.Pipe(duplex=False) for _ in range(3)]
        writers = [fork.Process(target=fitted, args=(path, theirs)) for _, theirs in pipes]
        for writer in writers:
            writer.start()
        for mine, _ in pipes:
            assert mine.poll(120)
            found.append(mine.recv())
        for writer in writers:
            writer.join()
    assert found == [found[0]] * 6
    assert [p.name for p in tmp_path.iterdir()] == ["fit.pt"]
