"""Models as users bring them, each beside its exact evidence."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, JitTrace_ELBO, Trace_ELBO, TraceGraph_ELBO
from pyro.infer.autoguide import AutoGuideList, AutoNormal
from torch.distributions import constraints

from lse_vi import AutoLSEICNN, fit_guide, sample_smc

FOUR = torch.tensor(4.0, dtype=torch.float64)
# Three seeds in both precisions, one of them in ``make test``.
EACH = pytest.mark.parametrize(
    ("dtype", "seed"),
    [
        pytest.param(d, s, marks=[pytest.mark.slow] * (s > 0 or d is torch.float32))
        for d in (torch.float64, torch.float32)
        for s in range(3)
    ],
    ids=str,
)


@pytest.fixture
def four(dtype, seed):
    """The data, with the precision and the seed of a test."""
    torch.set_default_dtype(dtype)  # a fixture sets it back
    pyro.set_rng_seed(seed)
    return FOUR.to(dtype)


def square(y):
    x = pyro.sample("x", dist.Normal(0.0, 3.0))
    pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)


def adam(model, guide, elbo):
    return SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), elbo)


class TestBySVI:
    @EACH
    @pytest.mark.parametrize("vectorised", [True, False])
    def test_the_modes_are_found_in_the_first_step(self, vectorised, four):
        guide = AutoLSEICNN(square)
        svi = adam(square, guide, Trace_ELBO(num_particles=10, vectorize_particles=vectorised))
        for _ in range(3):
            svi.step(four)
        share = float((guide.get_posterior().sample((2000,)) > 0).double().mean())
        assert share == pytest.approx(0.5, abs=0.06)
        assert len(guide.search.peaks) == 2

    def test_where_they_cannot_be_found_a_warning_names_find_modes(self):
        def model(y):
            with poutine.block():
                noise = pyro.sample("noise", dist.Normal(0.0, 1.0))
            x = pyro.sample("x", dist.Normal(0.0, 3.0))
            pyro.sample("y", dist.Normal(x + noise, 1.0), obs=y)

        with pytest.warns(UserWarning, match="find_modes was not called .* site 'noise' is hidden"):
            adam(model, AutoLSEICNN(model), Trace_ELBO()).step(FOUR)

    @EACH
    def test_trace_graph_has_the_gradient_of_trace(self, four):
        """Both estimate one gradient: of many particles the means agree."""
        guide = AutoLSEICNN(square, modes=2, hidden=())
        guide.find_modes(four)
        with torch.no_grad():
            guide.potential.network.loc += 0.05
        gradients = []
        for elbo in (
            TraceGraph_ELBO(10, max_plate_nesting=0, vectorize_particles=True),
            Trace_ELBO(10, max_plate_nesting=0, vectorize_particles=True),
        ):
            loc, each = guide.potential.network.loc, []
            for _ in range(60):
                loc.grad = None
                elbo.loss_and_grads(square, guide, four)
                each.append(loc.grad.flatten().clone())
            each = torch.stack(each)
            gradients.append((each.mean(0), each.std(0) / math.sqrt(len(each))))
        (one, error), (two, other) = gradients
        assert bool(((one - two).abs() < 4.5 * (error**2 + other**2).sqrt()).all())

    @pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
    # From torch 2.14 on, of Pyro's own call.
    @pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated:FutureWarning")
    def test_a_compiled_elbo_is_refused(self):
        guide = AutoLSEICNN(square)
        guide.find_modes(FOUR)
        with pytest.raises(NotImplementedError, match="JitTrace_ELBO would freeze its log Z"):
            adam(square, guide, JitTrace_ELBO()).step(FOUR)

    @EACH
    def test_a_part_of_a_guide_list_finds_its_modes_beside_the_others(self, four):
        def model(y):
            x = pyro.sample("x", dist.Normal(0.0, 3.0))
            scale = pyro.sample("scale", dist.LogNormal(0.0, 0.3))
            pyro.sample("y", dist.Normal(x**2, scale), obs=y)

        guide = AutoGuideList(model)
        guide.append(AutoLSEICNN(poutine.block(model, expose=["x"])))
        guide.append(AutoNormal(poutine.block(model, expose=["scale"])))
        svi = adam(model, guide, Trace_ELBO(num_particles=10, vectorize_particles=True))
        svi.step(four)
        assert len(guide[0].search.peaks) == 2
        assert sorted(guide[0].search.peaks.x.flatten().tolist()) == pytest.approx([-2, 2], abs=0.1)


class TestParameters:
    @staticmethod
    def model(y):
        scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        x = pyro.sample("x", dist.Normal(0.0, 2.0))
        pyro.sample("y", dist.Normal(x, scale), obs=y)

    def test_are_refused_by_name(self):
        with pytest.raises(ValueError, match=r"it has parameters \('scale'\)"):
            fit_guide(self.model, AutoLSEICNN(self.model), FOUR, progress=False)

    def test_of_a_module_too(self):
        net = torch.nn.Linear(1, 1)

        def model():
            pyro.module("net", net)
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.factor("f", -net(x.reshape(1)).square().sum())

        with pytest.raises(ValueError, match=r"parameters \('net\$\$\$weight'"):
            fit_guide(model, AutoLSEICNN(model), progress=False)

    def test_are_constants_where_they_are_hidden(self):
        fixed = poutine.block(self.model, hide_types=["param"])
        res = fit_guide(fixed, AutoLSEICNN(fixed), FOUR, progress=False)
        exact = dist.Normal(0.0, math.sqrt(5.0)).log_prob(FOUR)
        assert abs(res.log_evidence - float(exact)) < 0.01


class TestSupports:
    @pytest.mark.parametrize("seed", range(3))
    def test_a_mixture_is_a_latent(self, seed):
        def model():
            parts = dist.Categorical(torch.tensor([0.3, 0.7]))
            two = dist.MixtureSameFamily(parts, dist.Normal(torch.tensor([-3.0, 3.0]), 1.0))
            x = pyro.sample("x", two)
            pyro.sample("y", dist.Normal(x, 2.0), obs=torch.tensor(0.0))

        res = fit_guide(model, AutoLSEICNN(model), seed=seed, progress=False)
        exact = dist.Normal(3.0, math.sqrt(5.0)).log_prob(torch.tensor(0.0))
        assert abs(res.log_evidence - float(exact)) < 0.01
        assert res.mode_weights.tolist() == pytest.approx([0.7, 0.3], abs=0.03)

    def test_components_with_different_supports_are_refused_by_name(self):
        def model():
            parts = dist.Categorical(torch.ones(2))
            low = torch.tensor([0.0, 2.0])
            pyro.sample("x", dist.MixtureSameFamily(parts, dist.Uniform(low, low + 1)))

        with pytest.raises(ValueError, match=r"site 'x' .* components .* different supports"):
            AutoLSEICNN(model)()

    @pytest.mark.parametrize("scale", [1e-6, 1e6])
    def test_a_half_flat_prior_in_any_units(self, scale):
        """The evidence of normal data with a flat mean and a scale known: closed form."""
        y = scale * torch.tensor([1.0, 2.0, 4.0])

        def model():
            a = pyro.sample("a", dist.ImproperUniform(constraints.real, (), ()))
            b = pyro.sample("b", dist.Normal(0.0, scale))
            with pyro.plate("data", 3):
                pyro.sample("y", dist.Normal(a + b, scale), obs=y)

        res = fit_guide(model, AutoLSEICNN(model), progress=False)
        residual = ((y - y.mean()) / scale).square().sum()
        exact = -0.5 * residual - math.log(2 * math.pi * scale**2) - 0.5 * math.log(3.0)
        assert abs(res.log_evidence - float(exact)) < 0.01

    def test_an_empty_plate_is_refused_and_an_empty_batch_is_nothing(self):
        def plate():
            pyro.sample("x", dist.Normal(0.0, 1.0))
            with pyro.plate("data", 0):
                pyro.sample("z", dist.Normal(0.0, 1.0))

        def batch():
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            none = pyro.sample("none", dist.Normal(0.0, 1.0).expand([0]).to_event(1))
            pyro.sample("y", dist.Normal(x + none.sum(), 1.0), obs=torch.tensor(1.0))

        with pytest.raises(ValueError, match=r"a pyro.plate has size zero; are its data empty\?"):
            AutoLSEICNN(plate)()
        res = fit_guide(batch, AutoLSEICNN(batch), progress=False)
        exact = dist.Normal(0.0, math.sqrt(2.0)).log_prob(torch.tensor(1.0))
        assert abs(res.log_evidence - float(exact)) < 0.01


def test_a_hard_edge_is_told_from_a_funnel():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("edge", torch.where(x > 0.5, 0.0, -math.inf))

    draws = sample_smc(model, AutoLSEICNN(model), draws=2000, progress=False)
    exact = math.log(0.5 * math.erfc(0.5 / math.sqrt(2.0)))
    assert abs(draws.log_evidence - exact) < 4.5 * draws.log_evidence_error
    assert bool((draws.samples["x"] > 0.5).all())
    (doubt,) = draws.warnings
    assert "ends at an edge" in doubt
    assert "funnel" not in doubt
