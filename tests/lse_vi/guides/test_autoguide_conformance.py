"""What Pyro asks of its own autoguides, asked of AutoLSEICNN: shapes, scores, starts, files.

The list follows Pyro's tests of its autoguides; the words and the models are ours.
"""

import io

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO
from pyro.infer.autoguide import (
    init_to_feasible,
    init_to_mean,
    init_to_median,
    init_to_sample,
    init_to_uniform,
    init_to_value,
)
from pyro.infer.reparam import ProjectedNormalReparam
from pyro.util import check_model_guide_match

from lse_vi import AutoLSEICNN, EnergyELBO, LaplaceMixture

pytestmark = pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
ELBOS = pytest.mark.parametrize(
    "elbo",
    [Trace_ELBO(), TraceEnum_ELBO(), TraceGraph_ELBO(), EnergyELBO(LaplaceMixture(64))],
    ids=lambda elbo: type(elbo).__name__,
)


def small(model, **options):
    return AutoLSEICNN(model, **{"modes": 2, "hidden": (4,)} | options)


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
    pyro.sample("factor", dist.LKJCholesky(2, torch.tensor(1.0)))


SHAPES = {
    "scalar": (),
    "vector": (2,),
    "in_plate": (3, 1),
    "in_plates": (3, 4),
    "normal": (2,),
    "simplex": (3,),
    "masked": (2,),
    "factor": (2, 2),
}


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

    @pytest.mark.parametrize("kind", [Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO])
    def test_the_loss_of_many_particles_at_once_is_finite(self, kind):
        elbo = kind(num_particles=10, vectorize_particles=True, max_plate_nesting=2)
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

    @pytest.mark.parametrize("particles", [(), (6,), (5, 4)], ids=str)
    def test_replayed_where_sites_depend_on_sites(self, particles):
        """The model is written for plates around it, as its indices count from the right."""

        def model():
            a = pyro.sample("a", dist.Normal(0.0, 1.0))
            b = pyro.sample("b", dist.Normal(a[..., None], torch.ones(3)).to_event(1))
            c = pyro.sample(
                "c", dist.MultivariateNormal(a[..., None].expand(b.shape), torch.eye(3))
            )
            with pyro.plate("rows", 2):
                d = pyro.sample("d", dist.Dirichlet((b + c).exp()))
                pyro.sample("e", dist.Categorical(logits=d), obs=torch.tensor([0, 0]))
            return a, b, c, d

        guide = small(model)
        with pyro.plate_stack("particles", particles, rightmost_dim=-2):
            trace = poutine.trace(guide).get_trace()
            a, b, c, d = poutine.replay(model, trace)()
        one = (1,) if particles else ()
        assert a.shape == particles + one
        assert b.shape == c.shape == (*particles, *one, 3)
        assert d.shape == (*particles, 2, 3)

    def test_unpacked_latents(self):
        """A Cholesky factor of correlations has fewer free numbers than entries."""

        def model():
            return pyro.sample("x", dist.LKJCholesky(3, torch.tensor(1.0)))

        guide = small(model)
        assert guide()["x"].shape == model().shape
        ((site, value),) = guide._unpack_latent(guide.sample_latent())
        assert site["name"] == "x"
        assert value.shape == (3,)


class TestStart:
    def test_a_given_point(self):
        start = {"real": 0.3, "positive": 2.0, "share": 0.8}
        values = {name: torch.tensor(value) for name, value in start.items()}
        guide = small(three_supports, init_loc_fn=init_to_value(values=values), init_scale=1e-4)
        guide()
        for name, value in guide.median().items():
            assert float(value) == pytest.approx(start[name], abs=1e-3)

    @pytest.mark.parametrize("scale", [1e-1, 1e-4, 1e-8])
    def test_a_given_width(self, scale):
        def model():
            with pyro.plate("plate", 20):
                pyro.sample("x", dist.Normal(0.0, 1.0))

        guide = small(model, init_scale=scale)
        guide()
        spread = guide.get_posterior().sample((500,)).std(0).square().mean().sqrt()
        assert scale / 2 < float(spread) < 2 * scale


class TestAfterwards:
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
            for value, other in zip(
                copy.call(), (expected[n] for n in sorted(expected)), strict=True
            ):
                assert torch.equal(value, other)
            pyro.set_rng_seed(1)
            drawn = copy()
            assert set(drawn) == set(expected)
            for name, value in expected.items():
                assert torch.equal(drawn[name], value)
            own, others = dict(guide.named_parameters()), dict(copy.named_parameters())
            assert set(own) == set(others)
            for name, value in own.items():
                assert torch.equal(others[name], value)


class TestErrors:
    def test_an_empty_model(self):
        with pytest.raises(RuntimeError, match="no latent variables"):
            small(lambda: None)()

    def test_a_discrete_site(self):
        def model():
            pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("k", dist.Geometric(0.5))

        with pytest.raises(ValueError, match="discrete"):
            small(model)()

    @pytest.mark.parametrize(
        "init",
        [init_to_feasible, init_to_mean, init_to_median, init_to_sample],
        ids=lambda f: f.__name__,
    )
    def test_a_direction_in_space(self, init):
        """It is refused with what to do, and that is enough."""

        def model():
            x = pyro.sample("x", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
            y = pyro.sample("y", dist.ProjectedNormal(x))
            seen = torch.tensor([1.0, 0.0, 0.0])
            pyro.sample("seen", dist.Normal(y, 1.0).to_event(1), obs=seen)

        with pytest.raises(ValueError, match=r"site 'y'.*ProjectedNormalReparam"):
            small(model, init_loc_fn=init)()
        as_a_point = poutine.reparam(model, {"y": ProjectedNormalReparam()})
        poutine.trace(small(as_a_point, init_loc_fn=init)).get_trace().compute_log_prob()

    def test_a_loop_over_a_plate(self):
        def model():
            for i in pyro.plate("plate", 3):
                pyro.sample(f"x{i}", dist.Normal(0.0, 1.0))

        with pytest.raises(NotImplementedError, match=r"sequential pyro\.plate"):
            small(model)()
