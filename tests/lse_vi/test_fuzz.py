"""Every public callable with arguments that nobody should give: an error that names one, soon.

The callables and their arguments are read from the library by ``inspect``: a new public name is
called too, and a new argument that has no value in `GOOD` fails `test_all_arguments_are_known`.
"""

import functools
import inspect
import math
import re
import signal
import time
import warnings

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lse_vi
from lse_vi import plots
from lse_vi.hysteresis.fit import fit_tests
from lse_vi.materials import Euler, Rate

ALLOWED = (ValueError, TypeError, OSError, lse_vi.NonFiniteLossError)
SECONDS = 20
# Constructors of what the library returns, and of errors: nobody calls them.
MADE_BY_US = {
    "FitResult", "GuideResult", "HysteresisFit", "MemoryFit", "NonFiniteLossError",
    "PosteriorDraws", "PotentialFit",
}  # fmt: skip
FLOAT = torch.float64

# -- good values ----------------------------------------------------------------------------------

POINTS = np.concatenate([np.linspace(-3, -2, 12), np.linspace(1, 3, 12)])
QUICK = {"progress": False, "seed": 0}


def model(y=torch.tensor(4.0, dtype=FLOAT)):  # noqa: B008
    x = pyro.sample("x", dist.Normal(torch.tensor(0.0, dtype=FLOAT), 3.0))
    pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)


def potential(dim=1, **kwargs):
    return lse_vi.LSEICNN(dim, 2, hidden=(3,), dtype=FLOAT, **kwargs)


@functools.cache
def fits():
    """A result of each kind."""
    fit = lse_vi.fit_posterior(POINTS, modes=1, hidden=(), draws=20, guide="laplace", **QUICK)
    guide = lse_vi.AutoLSEICNN(model, modes=2, hidden=())
    strain = np.interp(np.arange(61), [0, 20, 30, 40, 60], [0, 0.06, 0.02, 0.06, 0])
    return {
        "density": lse_vi.fit_density(
            POINTS, modes=1, hidden=(3,), steps=5, restarts=1, polish=2, **QUICK
        ),
        "potential": lse_vi.fit_potential(
            potential(), POINTS, value=POINTS**2, polish=2, restarts=1, **QUICK
        ),
        "guide": lse_vi.fit_guide(model, guide, steps=20, samples=64, **QUICK),
        "posterior": fit,
        "chains": lse_vi.sample_posterior(fit, chains=1, draws=4, warmup=2, **QUICK),
        "draws": lse_vi.sample_smc(model, guide, draws=40, **QUICK),
        "loops": lse_vi.fit_memory([(strain, np.tanh(30 * strain))], modes=1, hidden=(), **QUICK),
        "memory": lse_vi.Elastic(potential(3), lse_vi.Isotropic()),
    }


def examples():
    """Objects whose methods are called."""
    made = fits()
    strain = lse_vi.Isotropic()
    return {
        **{name: made[name] for name in ("density", "potential", "guide", "loops", "draws")},
        "posterior": made["posterior"],
        "model": made["posterior"].model,
        "count": lse_vi.ModeCount({1: made["posterior"]}),
        "guide of it": made["guide"].guide,
        "fresh guide": lse_vi.AutoLSEICNN(model),
        "q": made["density"].density,
        "plain": potential(),
        "batch": potential(batch_shape=(2,)),
        "network": potential().network,
        "whitened": lse_vi.WhitenedICNN(1, 2, hidden=(3,), dtype=FLOAT),
        "blend": lse_vi.Blend(potential(), potential(), math.tanh),
        "elastic": made["memory"],
        "memory": lse_vi.Memory(
            potential(5), strain, Rate(9, 2, hidden=(3,), dtype=FLOAT), stepper=Euler()
        ),
        "play": lse_vi.Play(potential(3), strain),
        "elbo": lse_vi.EnergyELBO(),
        "quadrature": lse_vi.Quadrature(),
        "invariants": strain,
        "components": lse_vi.Components(1),
    }


def goods(folder):
    """A good value for each argument: by the callable and its name, or by its name."""
    made, plain = fits(), potential()
    path = torch.zeros(2, 4, 3, 3, dtype=FLOAT)
    z, q = torch.zeros(4, 1, dtype=FLOAT), made["density"].density
    whitened = potential(network=lse_vi.WhitenedICNN)
    theta = made["posterior"].theta[:2]
    values = {
        "model": model, "landscape": plain, "potential": plain,
        "pot": plain, "first": plain, "second": potential(), "weight": math.tanh,
        "dim": 1, "modes": 1, "hidden": (3,), "steps": 3, "x": POINTS, "draws": 20, "seed": 0,
        "progress": False, "invariants": lse_vi.Isotropic(), "x0": z, "starts": z, "times": [0, 1],
        "minima": torch.zeros(1, 1, dtype=FLOAT), "count": 2, "n": 3, "theta": theta,
        "fit": made["posterior"], "posterior": made["posterior"], "warmup": 2, "chains": 1,
        "posteriors": {1: made["posterior"]}, "density": q, "result": made["density"],
        "history": made["density"].history, "exact": POINTS, "predicted": POINTS,
        "path": folder / "potential.pt", "paths": np.ones((9, 1)), "value": POINTS**2,
        "restarts": 1, "polish": 2, "replicates": 3, "grid": 20, "strain": path, "stress": path,
        "rate": Rate(9, 2, hidden=(3,), dtype=FLOAT), "stepper": Euler(), "t": 0.5,
        "keep": torch.tensor([True, True]), "offset": torch.tensor(0.0, dtype=FLOAT),
        "factor": torch.tensor(1.0, dtype=FLOAT), "index": (0,), "tensors": {}, "box": None,
        "quantiles": [0.5], "values": {"x": torch.zeros(3, dtype=FLOAT)}, "z": z, "mode": 0,
        "args": (), "slope": path, "center": torch.zeros(1, dtype=FLOAT), "centers": None,
        "root": torch.eye(1, dtype=FLOAT), "sample_shape": (3,), "batch_shape": (),
        "shift": torch.zeros(1, dtype=FLOAT), "scale": torch.ones(1, dtype=FLOAT),
        "learning_rate": 0.01, "checkpoint": None, "processes": 1, "samples": 64, "islands": 2,
        "guide": "laplace",
        "prepared": None, "state": None, "targets": None, "tests": None,
    }  # fmt: skip
    of_guide = ("fit_guide", "sample_smc", "EnergyELBO")
    recipe, few = lse_vi.GuideRecipe(steps=3, samples=64), lse_vi.SMCSettings(draws=40)
    bowl = lse_vi.LSEICNN(1, 1, hidden=(), network=lse_vi.WhitenedICNN, dtype=FLOAT)
    own = {
        **{f"{name}.guide": made["guide"].guide for name in of_guide},
        "fit_guide.recipe": recipe, "sample_smc.settings": few,
        "to_arviz.settings": lse_vi.ExportSettings(num_samples=20, prior=False),
        "basins.x": z, "basins.landscape": bowl, "basins.minima": bowl.network.loc.detach()[:1],
        "Quadrature.rule.pot": whitened, "PotentialFit.select.index": (),
        "LSEDensity.potential": whitened, "Envelope.rule.pot": whitened, "ICNN.shift": z[0],
        "Memory.potential": potential(5), "Elastic.potential": potential(3),
        "Play.potential": potential(3), "rates_from_trajectories.times": list(range(9)),
        "fit_density.value": None, "fit_memory.tests": [(POINTS, POINTS)],
        "fit_memory.strain": "strain", "fit_memory.stress": "stress",
        "fit_tests.tests": [(POINTS, POINTS)], "polish_memory.model": made["memory"],
        "fit_tests.strain": "strain", "fit_tests.stress": "stress", "fit_tests.times": "time",
        "to_arviz.posterior": made["guide"], "plot_loops.result": made["loops"],
        "plot_mode_count.count": lse_vi.ModeCount({1: made["posterior"]}),
        "plot_mode_weights.result": made["guide"], "plot_pairs.result": made["guide"],
        "BayesianDensity.units": None, "DensityPosterior.model": made["posterior"].model,
        "DensityPosterior.source": "mine", "HysteresisFit.predict.strain": POINTS,
        "LSEICNN.active_modes.x": z, "DensityPosterior.log_density.x": z,
        "GuideResult.mode_of.values": {"x": torch.zeros(3, dtype=FLOAT)},
        "GuideResult.relabel.draws": {"x": torch.zeros(3, dtype=FLOAT)},
        "GuideResult.relabel.sites": ["x"], "GuideResult.mode_of.x": None,
        "plot_density.data": POINTS, "load.path": __file__,
        "polish_memory.times": None, "Elastic.times": None, "Memory.times": None,
        "Play.times": None, "plot_potential.bounds": (-1.0, 1.0),
    }  # fmt: skip
    return values, own


# -- the callables --------------------------------------------------------------------------------

# Inner tools, which are called by the library only, with what it has made itself.
INNER = {
    "prepare", "march", "unit_stress", "begin", "leave_out", "claim_name", "start_on",
    "placed_on", "potential_in", "install", "support", "expand", "stack", "frame_stack", "inner",
    "compose_affine_", "scale_output_", "reset_parameters", "is_for", "ICNN.add_offset_",
    "WhitenedICNN.add_offset_", "AutoLSEICNN.density", "AutoLSEICNN.blank",
}  # fmt: skip


def arguments(function):
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p for p in parameters if p.kind not in kinds and not p.name.startswith("_")}


@functools.cache
def callables():
    """Names and functions: of the library, its figures, and methods of examples."""
    found = {"fit_tests": fit_tests}
    for module in (lse_vi, plots):
        for name in module.__all__:
            if callable(getattr(module, name)) and name not in MADE_BY_US:
                found[name] = getattr(module, name)
    for example in examples().values():
        kind = type(example)
        for owner in kind.__mro__:
            if not owner.__module__.startswith("lse_vi."):
                continue
            for name, member in vars(owner).items():
                inner = name.startswith("_") or {name, f"{kind.__name__}.{name}"} & INNER
                if not inner and inspect.isfunction(member):
                    found[f"{kind.__name__}.{name}"] = getattr(example, name)
    return found


def good_of(name, function, parameter, values, own):
    keys = [f"{name}.{parameter.name}", f"{name.split('.')[0]}.{parameter.name}"]
    for key in keys:
        if key in own:
            return own[key]
    if parameter.name in values:
        return values[parameter.name]
    if parameter.default is not parameter.empty:
        return parameter.default
    raise KeyError(f"{name}: no good value for {parameter.name}; add one")


# -- bad values -----------------------------------------------------------------------------------

BAD = {
    "None": None, "True": True, "0": 0, "-1": -1, "1.5": 1.5, "2**70": 2**70, "1e300": 1e300,
    "nan": math.nan, "inf": math.inf, "'a'": "a", "''": "", "b'a'": b"a", "[]": [], "{}": {},
    "()": (), "[1, 'a']": [1, "a"], "[[1], [2, 3]]": [[1], [2, 3]], "int64": np.int64(3),
    "float32": np.float32(0.5), "reversed": POINTS[::-1], "big endian": POINTS.astype(">f8"),
    "bools": POINTS > 0, "complex": POINTS + 1j, "text": np.array(["a", "b"]),
    "nans": np.full(24, np.nan), "empty": np.empty((0, 1)), "3-d": np.zeros((2, 2, 2)),
    "0-d": np.array(1.0), "tensor": torch.ones(3), "double": torch.ones(3, 1, dtype=FLOAT),
    "int tensor": torch.arange(3), "nan tensor": torch.full((3, 1), math.nan, dtype=FLOAT),
    "frame": pd.DataFrame({"u": [1.0, 2.0], "v": ["p", "q"]}),
    "dates": pd.date_range("2020", periods=9),
    "class": lse_vi.LSEICNN, "function": math.sin, "object": object(), "10**6": 1_000_000,
    "(10**6,)": (1_000_000,), "huge": [1e300, -1e300], "{'a': 1}": {"a": 1}, "{1, 2}": {1, 2},
    "generator": (i for i in ()), "slice": slice(3),
}  # fmt: skip


# Arguments that ask for work, which takes as long as was asked.
WORK = {
    "steps", "restarts", "draws", "doublings", "polish", "warmup", "chains", "samples", "count",
    "n", "replicates", "resample", "panels", "nodes", "grid", "islands", "processes", "num_samples",
}  # fmt: skip
MUCH = {"10**6", "int64"}
# A function is what these want: what it does with the arguments of a model is its own affair.
MODELS = {"model", "posterior", "weight", "init_loc_fn"}


class TooLong(BaseException):
    """A call that did not end."""


def _stop(*_):
    raise TooLong


def complaint(name, function, changed, kwargs):
    """What is wrong with how a call ended; None for nothing."""
    known = set(arguments(function)) | {"batch_shape", "guide"}
    before = signal.signal(signal.SIGALRM, _stop)
    signal.alarm(SECONDS)
    begun = time.perf_counter()
    call = f"{name}({', '.join(changed)})"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(**kwargs)
    except TooLong:
        return f"{call}: longer than {SECONDS} s"
    except ALLOWED as error:
        words = set(re.findall(r"\w+", str(error)))
        if not words & known:
            return f"{call}: names no argument: {type(error).__name__}: {error}"
    except Exception as error:
        return f"{call}: {type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        plots_closed()
    if time.perf_counter() - begun > SECONDS:
        return f"{call}: longer than {SECONDS} s"
    return None


def plots_closed():
    import matplotlib.pyplot as plt

    plt.close("all")


# -- tests ----------------------------------------------------------------------------------------


def base_of(name, function, values, own):
    """Good values for the arguments that must be given, and for those that make a call short."""
    return {
        argument: good_of(name, function, parameter, values, own)
        for argument, parameter in arguments(function).items()
        if parameter.default is parameter.empty or argument in values or f"{name}.{argument}" in own
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a name of a file may be among the bad values
    return tmp_path


def test_all_arguments_are_known(folder):
    """A new public name or argument needs a good value in `goods`, and good values must work."""
    values, own = goods(folder)
    failures = []
    for name, function in callables().items():
        try:
            kwargs = base_of(name, function, values, own)
        except KeyError as error:
            failures.append(str(error))
            continue
        failures.append(complaint(name, function, ["good values"], kwargs))
    assert [failure for failure in failures if failure] == []


def changes(name, function):
    """Pairs of an argument and the name of a bad value that may be asked for."""
    return [
        (argument, bad)
        for argument in arguments(function)
        for bad in BAD
        if not (argument in WORK and bad in MUCH) and not (argument in MODELS and bad == "function")
    ]


def fuzz(folder, examples):
    values, own = goods(folder)
    found = callables()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data):
        name = data.draw(st.sampled_from([n for n in found if arguments(found[n])]))
        function = found[name]
        several = st.lists(st.sampled_from(changes(name, function)), min_size=1, max_size=2)
        chosen = dict(data.draw(several))
        kwargs = base_of(name, function, values, own)
        kwargs |= {argument: BAD[bad] for argument, bad in chosen.items()}
        told = [f"{argument}={bad}" for argument, bad in chosen.items()]
        assert complaint(name, function, told, kwargs) is None

    run()


def test_200_bad_calls_are_refused_by_name(folder):
    fuzz(folder, 200)


@pytest.mark.slow
def test_2000_bad_calls_are_refused_by_name(folder):
    fuzz(folder, 2000)
