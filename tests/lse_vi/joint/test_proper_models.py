"""No proper model is called improper: forty of them, drawn from a grammar of sites."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lse_vi import AutoLSEICNN
from lse_vi.guides import peak_search

# Ascents of a search, in place of two rounds of 512. What is tested is that nothing is called
# improper, and few ascents make that more likely: it takes one that reaches a peak to know better.
STARTS = 64

LAWS = {
    "normal": lambda s: dist.Normal(0.0, s),
    "half": lambda s: dist.HalfNormal(s),
    "cauchy": lambda s: dist.HalfCauchy(s),
    "log-normal": lambda s: dist.LogNormal(0.0, 1.0),
    "gamma": lambda s: dist.Gamma(2.0, 1.0 / s),
    "beta": lambda s: dist.Beta(2.0, 3.0),
    "uniform": lambda s: dist.Uniform(-s, s),
    "student": lambda s: dist.StudentT(5.0, 0.0, s),
    "gumbel": lambda s: dist.Gumbel(0.0, s),
    "logistic": lambda s: dist.Logistic(0.0, s),
    "pareto": lambda s: dist.Pareto(0.25 * s, 3.0),
    "weibull": lambda s: dist.Weibull(s, 1.5),
    "angle": lambda s: dist.VonMises(0.0, 0.5),
    "coin": lambda s: dist.Bernoulli(0.3),
    "three": lambda s: dist.Categorical(torch.tensor([0.2, 0.3, 0.5])),
}
SCALES, PLACES = [1e-4, 0.1, 1.0, 30.0, 1e5], ["alone", "plate", "seen in part"]
# Laws in some order, of which one to three are taken: lists of single draws repeat themselves.
SITES = st.tuples(
    st.permutations(sorted(LAWS)),
    st.lists(st.tuples(st.sampled_from(SCALES), st.sampled_from(PLACES)), min_size=1, max_size=3),
).map(lambda both: [(law, *where) for law, where in zip(*both, strict=False)])
DATA = torch.tensor([0.4, -1.0, 2.0], dtype=torch.float64)


def program(sites, noise):
    def model():
        total = torch.zeros(())
        for i, (law, scale, where) in enumerate(sites):
            fn = LAWS[law](scale)
            if where == "alone" or fn.has_enumerate_support:
                total = total + pyro.sample(f"x{i}", fn) / scale
                continue
            with pyro.plate(f"plate{i}", 3):
                if where == "plate":
                    x = pyro.sample(f"x{i}", fn)
                else:
                    inside = torch.full((3,), 0.5 if law == "beta" else 0.5 * scale)
                    seen = torch.tensor([True, False, True])
                    x = pyro.sample(f"x{i}", fn, obs=inside, obs_mask=seen)
            total = total + x.sum(-1) / scale
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        for j in range(3):
            pyro.sample(f"y{j}", dist.Normal(total * slope, noise), obs=DATA[j])

    return model


def check(sites, noise):
    """The search finds peaks: it calls no proper model improper, nor refuses it otherwise."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    model = program(sites, noise)
    assert len(AutoLSEICNN(model).find_modes().peaks) > 0


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(SITES, st.sampled_from([0.1, 1.0, 10.0]))
@example([("student", 1e-4, "plate"), ("log-normal", 1e-4, "seen in part")], 0.1)  # narrow ridges
@example([("student", 1e5, "seen in part"), ("log-normal", 1e-4, "seen in part")], 0.1)
def test_no_proper_model_is_called_improper(sites, noise):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peak_search, "ROUND_STARTS", STARTS)
        patch.setattr(peak_search, "LEAST_ROUNDS", 1)
        check(sites, noise)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["alone", "plate", "seen in part"])
def test_one_of_each(where):
    check([("normal", 30.0, where), ("coin", 1.0, where), ("cauchy", 0.1, where)], 1.0)
