"""What Pyro asks of its own autoguides, asked of AutoLSEICNN.

The list follows Pyro's tests of its autoguides; the words and the models are ours.
"""

import io

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO, TraceEnum_ELBO
from pyro.infer.autoguide import (
    AutoCallable,
    AutoDelta,
    AutoGuideList,
    AutoNormal,
    init_to_feasible,
    init_to_mean,
    init_to_median,
    init_to_sample,
    init_to_uniform,
    init_to_value,
)
from pyro.nn import PyroModule, PyroParam, PyroSample
from pyro.optim import Adam
from pyro.poutine.util import prune_subsample_sites
from pyro.util import check_model_guide_match
from torch import nn
from torch.distributions import constraints

from lse_vi import AutoLSEICNN, EnergyELBO, LaplaceMixture

pytestmark = pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
ELBOS = pytest.mark.parametrize(
    "elbo",
    [Trace_ELBO(), TraceEnum_ELBO(), EnergyELBO(LaplaceMixture(64))],
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


def many_shapes():
    pyro.sample("scalar", dist.Normal(0.0, 1.0))
    pyro.sample("vector", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("outer", 3, dim=-2):
        pyro.sample("in_plate", dist.Normal(0.0, 1.0))
        with pyro.plate("inner", 4, dim=-1):
            pyro.sample("in_plates", dist.Gamma(2.0, 1.0))
    pyro.sample("normal", dist.MultivariateNormal(torch.zeros(2), torch.eye(2)))
    pyro.sample("simplex", dist.Dirichlet(torch.ones(3)))
    half = dist.Normal(0.0, 1.0).expand((2,)).mask(torch.arange(2) > 0)
    pyro.sample("masked", half.to_event(1))


SHAPES = {
    "scalar": (),
    "vector": (2,),
    "in_plate": (3, 1),
    "in_plates": (3, 4),
    "normal": (2,),
    "simplex": (3,),
    "masked": (2,),
}


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
        pyro.sample("x", dist.Normal(self.loc, self.scale))
        with pyro.plate("plate", 2):
            pyro.sample("y", dist.Normal(2.0, 0.1))


# -- shapes, scores, factors ----------------------------------------------------------------------


class TestTrace:
    @pytest.mark.parametrize(
        "init",
        [init_to_feasible, init_to_mean, init_to_median, init_to_sample, init_to_uniform],
        ids=lambda f: f.__name__,
    )
    def test_shapes_from_every_start(self, init):
        guide = small(many_shapes, init_loc_fn=init)
        assert {name: tuple(value.shape) for name, value in guide().items()} == SHAPES
        assert {name: tuple(value.shape) for name, value in guide.median().items()} == SHAPES

    @ELBOS
    def test_the_loss_is_finite(self, elbo):
        guide = small(many_shapes)
        assert torch.tensor(elbo.loss(many_shapes, guide)).isfinite()
        assert torch.tensor(elbo.loss_and_grads(many_shapes, guide)).isfinite()

    def test_scores(self):
        """The latent vector carries log q, a site the Jacobian of its transform: none for reals."""
        guide = small(three_supports)
        trace = poutine.trace(guide).get_trace()
        replayed = poutine.trace(poutine.replay(three_supports, trace)).get_trace()
        trace.compute_log_prob()
        replayed.compute_log_prob()
        latent = "_AutoLSEICNN_latent"
        assert latent not in replayed.nodes
        assert trace.nodes[latent]["log_prob_sum"] != 0
        assert trace.nodes["real"]["log_prob_sum"] == 0
        positive = trace.nodes["positive"]
        assert float(positive["log_prob_sum"]) == pytest.approx(-float(positive["value"].log()))
        assert all(replayed.nodes[name]["log_prob_sum"] != 0 for name in ("real", "positive"))
        check_model_guide_match(replayed, trace)

    @ELBOS
    def test_a_factor_moves_the_loss_by_its_value(self, elbo):
        def model(height):
            pyro.sample("a", dist.Normal(0.0, 1.0))
            pyro.factor("one", height)
            with pyro.plate("plate", 3):
                pyro.factor("three", height)
                pyro.sample("b", dist.Normal(torch.zeros(3), 1.0))

        guide = small(model)
        losses = []
        for height in (5.0, 4.0):
            guide(torch.tensor(height))
            pyro.set_rng_seed(1)
            losses.append(elbo.loss(model, guide, torch.tensor(height)))
        assert losses[1] - losses[0] == pytest.approx(4.0)

    @pytest.mark.parametrize("particles", [(), (5,), (2, 5)], ids=str)
    def test_replayed_in_outer_plates(self, particles):
        """Particles are plates around guide and model: every site broadcasts over them."""
        guide = small(many_shapes)
        guide()

        def in_plates(fn):
            for i, size in enumerate(particles):
                fn = pyro.plate(f"particles{i}", size, dim=-3 - i)(fn)
            return fn

        trace = poutine.trace(in_plates(guide)).get_trace()
        replayed = poutine.trace(poutine.replay(in_plates(many_shapes), trace)).get_trace()
        replayed.compute_log_prob()
        check_model_guide_match(replayed, trace)
        lead = tuple(reversed(particles))
        for name, shape in SHAPES.items():
            value, event = replayed.nodes[name]["value"], replayed.nodes[name]["fn"].event_dim
            batch = (1, 1, *shape[: len(shape) - event])[-2:] if lead else shape
            if lead:
                assert value.shape == (*lead, *batch, *shape[len(shape) - event :])
                assert replayed.nodes[name]["log_prob"].shape == (*lead, *batch)
            else:
                assert value.shape == shape

    def test_unpacked_latents(self):
        """A Cholesky factor of correlations has fewer free numbers than entries."""

        def model():
            return pyro.sample("x", dist.LKJCholesky(3, torch.tensor(1.0)))

        guide = small(model)
        assert guide()["x"].shape == model().shape
        ((site, value),) = guide._unpack_latent(guide.sample_latent())
        assert site["name"] == "x"
        assert value.shape == (3,)


# -- starts ---------------------------------------------------------------------------------------


class TestStart:
    def test_a_given_point(self):
        start = {"real": 0.3, "positive": 2.0, "share": 0.8}
        values = {name: torch.tensor(value) for name, value in start.items()}
        guide = small(three_supports, init_loc_fn=init_to_value(values=values), init_scale=1e-4)
        guide()
        for name, value in guide.median().items():
            assert float(value) == pytest.approx(start[name], abs=1e-3)

    @pytest.mark.parametrize("scale", [1e-1, 1e-4, 1e-6])
    def test_a_given_width(self, scale):
        def model():
            with pyro.plate("plate", 20):
                pyro.sample("x", dist.Normal(0.0, 1.0))

        guide = small(model, init_scale=scale)
        guide()
        spread = guide.get_posterior().sample((500,)).std(0).square().mean().sqrt()
        assert scale / 2 < float(spread) < 2 * scale


# -- training -------------------------------------------------------------------------------------


class TestTraining:
    @pytest.mark.parametrize(
        "elbo",
        [
            Trace_ELBO(num_particles=50, vectorize_particles=True),
            TraceEnum_ELBO(num_particles=50, vectorize_particles=True, max_plate_nesting=0),
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

    def test_subsampled_data(self):
        """Refused by EnergyELBO, as the modes need all data; trained by Trace_ELBO."""

        def model(y):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(y), subsample_size=3):
                pyro.sample("y", dist.Normal(x, 1.0), obs=pyro.subsample(y, event_dim=0))

        guide, y = small(model), torch.randn(12)
        steps(model, guide, Trace_ELBO(), 3, y)
        with pytest.raises(ValueError, match="plate 'data' around site 'y' is subsampled, 3 of 12"):
            EnergyELBO().loss(model, guide, y)


# -- together with other guides -------------------------------------------------------------------


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

    def test_beside_a_function_with_a_median(self):
        def guide_x():
            pyro.sample("x", dist.Normal(pyro.param("x_loc", torch.ones(2)), 0.1).to_event(1))

        guide = AutoGuideList(two_sites)
        guide.append(AutoCallable(two_sites, guide_x, lambda: {"x": pyro.param("x_loc")}))
        guide.append(small(poutine.block(two_sites, hide=["x"])))
        steps(two_sites, guide, Trace_ELBO(), 3)
        assert set(guide.median()) == {"x", "y"}


# -- after training -------------------------------------------------------------------------------


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

    def test_serialisation(self):
        """Saved whole and as a state: the same draws from the same seed, the same parameters."""
        guide = small(many_shapes)
        guide()
        file = io.BytesIO()
        torch.save(guide, file)
        file.seek(0)
        whole = torch.load(file, weights_only=False)
        anew = small(many_shapes)
        anew()
        anew.load_state_dict(guide.state_dict())
        pyro.set_rng_seed(1)
        expected = guide()
        for copy in (whole, anew):
            pyro.set_rng_seed(1)
            drawn = copy()
            assert set(drawn) == set(expected)
            for name, value in expected.items():
                assert torch.equal(drawn[name], value)
            own, others = dict(guide.named_parameters()), dict(copy.named_parameters())
            assert set(own) == set(others)
            for name, value in own.items():
                assert torch.equal(others[name], value)


# -- models that do not fit -----------------------------------------------------------------------


class TestErrors:
    def test_an_empty_model(self):
        with pytest.raises(RuntimeError, match="no latent variables"):
            small(lambda: None)()

    def test_a_discrete_site(self):
        def model():
            pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("k", dist.Categorical(torch.ones(3)))

        with pytest.raises(ValueError, match="discrete"):
            small(model)()
