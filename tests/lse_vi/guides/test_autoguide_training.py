"""What Pyro asks of its own autoguides when they are trained, alone and beside others.

The list follows Pyro's tests of its autoguides; the words and the models are ours.
"""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO
from pyro.infer.autoguide import (
    AutoCallable,
    AutoDelta,
    AutoDiscreteParallel,
    AutoGuide,
    AutoGuideList,
    AutoNormal,
)
from pyro.nn import PyroModule, PyroParam, PyroSample
from pyro.optim import Adam
from pyro.poutine.util import prune_subsample_sites
from pyro.util import check_model_guide_match
from torch import nn
from torch.distributions import constraints

from lse_vi import AutoLSEICNN, EnergyELBO, LaplaceMixture, fit_guide

pytestmark = pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
ELBOS = pytest.mark.parametrize(
    "elbo",
    [Trace_ELBO(), TraceEnum_ELBO(), TraceGraph_ELBO(), EnergyELBO(LaplaceMixture(64))],
    ids=lambda elbo: type(elbo).__name__,
)


def small(model, **options):
    return AutoLSEICNN(model, **{"modes": 2, "hidden": (4,)} | options)


def steps(model, guide, elbo, n, *args, rate=0.01):
    svi = SVI(model, guide, Adam({"lr": rate}), elbo)
    return [svi.step(*args) for _ in range(n)]


def three_supports():
    pyro.sample("real", dist.Normal(0.0, 1.0))
    pyro.sample("positive", dist.LogNormal(0.0, 1.0))
    pyro.sample("share", dist.Beta(2.0, 2.0))


class Regression(PyroModule):
    """Linear regression with priors over the weights of a torch module."""

    def __init__(self, inputs):
        super().__init__()
        self.linear = PyroModule[nn.Linear](inputs, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, inputs]).to_event(2))
        self.linear.bias = PyroSample(dist.Normal(0.0, 10.0).expand([1]).to_event(1))

    def forward(self, x, y=None):
        mean = self.linear(x).squeeze(-1)
        sigma = pyro.sample("sigma", dist.LogNormal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            return pyro.sample("y", dist.Normal(mean, sigma), obs=y)


class Learned(PyroModule):
    """A model whose prior has parameters."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(1.0))
        self.scale = PyroParam(torch.tensor(0.1), constraints.positive)

    def forward(self):
        x = pyro.sample("x", dist.Normal(self.loc, self.scale))
        with pyro.plate("plate", 2):
            pyro.sample("y", dist.Normal(2.0, 0.1))
        pyro.sample("z", dist.Normal(1.0, 0.1), obs=x)


class TestTraining:
    @pytest.mark.parametrize(
        "elbo",
        [
            Trace_ELBO(num_particles=50, vectorize_particles=True),
            pytest.param(
                TraceEnum_ELBO(num_particles=50, vectorize_particles=True, max_plate_nesting=0),
                marks=pytest.mark.slow,
            ),
            pytest.param(
                TraceGraph_ELBO(num_particles=50, vectorize_particles=True, max_plate_nesting=0),
                marks=pytest.mark.slow,
            ),
            EnergyELBO(LaplaceMixture(256)),
        ],
        ids=lambda elbo: type(elbo).__name__,
    )
    def test_median_and_quantiles(self, elbo):
        guide = small(three_supports, init_scale=0.5)
        steps(three_supports, guide, elbo, 100, rate=0.05)
        median, quantiles = guide.median(), guide.quantiles([0.1, 0.5, 0.9])
        exact = {"real": dist.Normal(0.0, 1.0), "positive": dist.LogNormal(0.0, 1.0)}
        for name, law in exact.items():
            assert torch.equal(quantiles[name][1], median[name])
            assert quantiles[name].shape == (3,)
            assert not quantiles[name].requires_grad
            assert not median[name].requires_grad
            # Of a Gaussian, 0.1 deviations in the median; 0.13 are 3 % of the mass at 0.1.
            level = law.cdf(quantiles[name])
            assert level.tolist() == pytest.approx([0.1, 0.5, 0.9], abs=0.1)
        assert 0.15 < quantiles["share"][0] < 0.35
        assert 0.4 < median["share"] < 0.6
        assert 0.65 < quantiles["share"][2] < 0.85

    @ELBOS
    def test_a_module_as_model(self, elbo):
        model = Learned()
        guide = small(model)
        steps(model, guide, elbo, 20, rate=0.005)
        median = guide.median()
        assert float(median["x"]) == pytest.approx(1.0, abs=0.1)
        assert median["y"].tolist() == pytest.approx([2.0, 2.0], abs=0.1)
        names = set(pyro.get_param_store().keys())
        assert {"loc", "scale"} <= {name.split("$$$")[-1] for name in names}

    @ELBOS
    def test_linear_regression(self, elbo):
        x, y = torch.randn(10, 3), torch.randn(10)
        model = Regression(3)
        (loss,) = steps(model, small(model), elbo, 1, x, y)
        assert torch.tensor(loss).isfinite()

    def test_exact_where_the_posterior_is_gaussian(self):
        """n normal data, a normal prior: the loss ends at minus the log evidence."""
        y = torch.tensor([1.0, 2.5, -0.3, 1.2, 0.4])

        def model():
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(y)):
                pyro.sample("y", dist.Normal(x, 1.0), obs=y)

        guide = small(model, modes=1, hidden=())
        guide.find_modes()
        elbo = EnergyELBO(LaplaceMixture(2048))
        covariance = torch.eye(5) + 1.0
        exact = float(dist.MultivariateNormal(torch.zeros(5), covariance).log_prob(y))
        assert -elbo.loss(model, guide) == pytest.approx(exact, abs=1e-6)
        loss = Trace_ELBO(num_particles=10).loss(model, guide)
        assert -loss == pytest.approx(exact, abs=1e-4)  # l - log q is constant, up to log Z's rule
        q = guide.get_posterior()
        assert float(q.mean) == pytest.approx(float(y.sum() / 6), abs=1e-4)
        assert float(q.variance) == pytest.approx(1 / 6, abs=1e-4)

    def test_exact_for_a_plate_of_latents_and_for_a_tree(self):
        """Each datum has a latent of its own, alone or below one of all: Gaussians again."""
        y = torch.tensor([1.0, -0.5])

        def alone():
            with pyro.plate("data", 2):
                x = pyro.sample("x", dist.Normal(0.0, 1.0))
                pyro.sample("y", dist.Normal(x, 1.0), obs=y)

        def tree():
            top = pyro.sample("top", dist.Normal(0.0, 1.0))
            with pyro.plate("data", 2):
                x = pyro.sample("x", dist.Normal(top, 1.0))
                pyro.sample("y", dist.Normal(x, 1.0), obs=y)

        # Of top, x and x in the tree, the covariance with y is that of top, and 1 with its own.
        for model, shared, own in ((alone, 0.0, 1.0), (tree, 1.0, 1.0)):
            pyro.clear_param_store()
            guide = small(model, modes=1, hidden=())
            guide.find_modes()
            of_x = shared + own * torch.eye(2)
            of_y = of_x + torch.eye(2)
            exact = float(dist.MultivariateNormal(torch.zeros(2), of_y).log_prob(y))
            loss = EnergyELBO(LaplaceMixture(2048)).loss(model, guide)
            assert -loss == pytest.approx(exact, abs=1e-5)
            particles = pyro.plate("particles", 20_000, dim=-2)
            with torch.no_grad():
                x = poutine.trace(particles(guide)).get_trace().nodes["x"]["value"]
            gain = of_x @ torch.linalg.inv(of_y)
            deviation = (of_x - gain @ of_x).diagonal().sqrt()
            assert bool(((x.mean(0) - gain @ y).abs() < 4.5 * deviation / 20_000**0.5).all())
            assert bool(((x.std(0) / deviation - 1).abs() < 4.5 / 40_000**0.5).all())

    def test_subsampled_data(self):
        """Trace_ELBO trains on them; the modes, EnergyELBO and fits take all data."""

        def model(y):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(y), subsample_size=3):
                pyro.sample("y", dist.Normal(x, 1.0), obs=pyro.subsample(y, event_dim=0))

        guide, y = small(model), torch.randn(12)
        steps(model, guide, Trace_ELBO(), 3, y)
        evidence = dist.MultivariateNormal(torch.zeros(12), torch.eye(12) + 1.0).log_prob(y)
        assert abs(fit_guide(model, guide, y, progress=False).log_evidence - float(evidence)) < 0.01
        assert abs(EnergyELBO().loss(model, guide, y) + float(evidence)) < 0.01


def two_sites():
    pyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    pyro.sample("y", dist.MultivariateNormal(torch.zeros(5), torch.eye(5)))


class TestGuideList:
    def test_two_of_them_share_a_model(self):
        guide = AutoGuideList(two_sites)
        guide.append(small(poutine.block(two_sites, expose=["x"])))
        guide.append(small(poutine.block(two_sites, expose=["y"])))
        assert {name: tuple(value.shape) for name, value in guide().items()} == {
            "x": (2,),
            "y": (5,),
        }
        losses = steps(two_sites, guide, Trace_ELBO(), 3)
        assert torch.tensor(losses).isfinite().all()
        trained = {name.split(".potential")[0] for name in pyro.get_param_store()}
        assert trained == {"AutoGuideList.0", "AutoGuideList.1"}

    @pytest.mark.parametrize("other", [AutoDelta, AutoNormal])
    def test_beside_another_autoguide(self, other):
        guide = AutoGuideList(two_sites)
        guide.append(other(poutine.block(two_sites, expose=["x"])))
        guide.append(small(poutine.block(two_sites, hide=["x"])))
        steps(two_sites, guide, Trace_ELBO(), 3)
        assert set(guide.median()) == {"x", "y"}

    def test_nested(self):
        model = Learned()
        inner = AutoGuideList(poutine.block(model, expose=["y"]))
        inner.own = small(poutine.block(model, expose=["y"]))
        guide = AutoGuideList(model)
        guide.append(AutoDelta(poutine.block(model, expose=["x"])))
        guide.append(inner)
        guide()
        assert inner.own.master() is guide
        steps(model, guide, Trace_ELBO(), 3)
        trace = poutine.trace(guide).get_trace()
        check_model_guide_match(poutine.trace(model).get_trace(), trace)
        assert "_AutoGuideList.1.own_latent" in trace.stochastic_nodes

    @pytest.mark.parametrize("returns", [False, True])
    def test_beside_a_function(self, returns):
        def guide_x():
            loc = pyro.param("x_loc", torch.zeros(2))
            x = pyro.sample("x", dist.Delta(loc, event_dim=1))
            return {"x": x} if returns else None

        guide = AutoGuideList(two_sites)
        guide.append(guide_x)
        guide.append(small(poutine.block(two_sites, expose=["y"])))
        assert set(guide()) == ({"x", "y"} if returns else {"y"})

    def test_beside_a_guide_of_discrete_sites(self):
        y = torch.tensor([0.0, 1.0, 10.0, 11.0, 12.0])

        def model(y):
            share = pyro.sample("share", dist.Dirichlet(0.5 * torch.ones(2)))
            loc = pyro.sample("loc", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
            scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
            with pyro.plate("data", len(y)):
                label = pyro.sample("label", dist.Categorical(share.expand(len(y), 2)))
                pyro.sample("y", dist.Normal(loc[label], scale), obs=y)

        guide = AutoGuideList(model)
        guide.append(small(poutine.block(model, hide=["label"])))
        guide.append(AutoDiscreteParallel(poutine.block(model, expose=["label"])))
        elbo = TraceEnum_ELBO(max_plate_nesting=1)
        assert torch.tensor(elbo.loss_and_grads(model, guide, y)).isfinite()
        assert torch.tensor(steps(model, guide, elbo, 2, y)).isfinite().all()

    def test_beside_a_module_of_ones_own(self):
        class Own(AutoGuide):
            def __init__(self, model):
                super().__init__(model)
                self.loc = nn.Parameter(torch.ones(2))

            def forward(self):
                return {"x": pyro.sample("x", dist.Normal(self.loc, 0.1).to_event(1))}

            def median(self):
                return {"x": self.loc.detach()}

        guide = AutoGuideList(two_sites)
        guide.own = Own(two_sites)
        guide.rest = small(poutine.block(two_sites, hide=["x"]))
        steps(two_sites, guide, Trace_ELBO(), 3)
        assert set(guide.median()) == {"x", "y"}

    def test_beside_a_function_with_a_median(self):
        def guide_x():
            pyro.sample("x", dist.Normal(pyro.param("x_loc", torch.ones(2)), 0.1).to_event(1))

        guide = AutoGuideList(two_sites)
        guide.append(AutoCallable(two_sites, guide_x, lambda: {"x": pyro.param("x_loc")}))
        guide.append(small(poutine.block(two_sites, hide=["x"])))
        steps(two_sites, guide, Trace_ELBO(), 3)
        assert set(guide.median()) == {"x", "y"}


class TestAfterwards:
    def test_predictive(self):
        x, y = torch.randn(4, 2), torch.randn(4)
        model = Regression(2)
        guide = small(model)
        guide(x, y)
        drawn = Predictive(model, guide=guide, num_samples=10)(x)
        trace = prune_subsample_sites(poutine.trace(model).get_trace(x))
        assert set(trace.stochastic_nodes) <= set(drawn)
        assert drawn["y"].shape == (10, 4)
        assert {len(value) for value in drawn.values()} == {10}
