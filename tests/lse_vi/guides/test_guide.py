"""The guide inside Pyro: supports, draws, quantiles, scores, files and types."""

import io

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO

from lse_vi import AutoLSEICNN, EnergyELBO, LSEDensity, fit_guide, to_arviz

SUPPORTS = {  # made in the tests, as those set float64
    "real": lambda: dist.Normal(0.0, 1.0),
    "positive": lambda: dist.Gamma(3.0, 1.0),
    "unit interval": lambda: dist.Beta(2.0, 3.0),
    "interval": lambda: dist.Uniform(2.0, 5.0),
    "simplex": lambda: dist.Dirichlet(torch.tensor([2.0, 3.0, 4.0])),
    "ordered": lambda: dist.TransformedDistribution(
        dist.Normal(torch.zeros(3), 1.0).to_event(1), dist.transforms.OrderedTransform()
    ),
    "Cholesky": lambda: dist.LKJCholesky(3, torch.tensor(2.0)),
}


@pytest.mark.parametrize("prior", SUPPORTS.values(), ids=SUPPORTS.keys())
def test_a_plate_of_constrained_sites(prior):
    """Draws, medians and quantiles have the site's shape and support."""

    def model():
        with pyro.plate("group", 2):
            pyro.sample("x", prior())

    guide = AutoLSEICNN(model, modes=2)
    guide.find_modes()
    shape = (2, *prior().event_shape)
    assert guide()["x"].shape == guide.median()["x"].shape == shape
    quantiles = guide.quantiles([0.1, 0.5, 0.9])["x"]
    assert quantiles.shape == (3, *shape)
    assert torch.equal(quantiles[1], guide.median()["x"])
    for value in (guide()["x"], *quantiles):
        assert bool(prior().support.check(value).all())
    for parallel in (False, True):
        draws = Predictive(model, guide=guide, num_samples=5, parallel=parallel)()["x"]
        assert draws.shape == (5, *shape)
        assert bool(prior().support.check(draws).all())


class TestInPyro:
    def test_its_posterior_is_a_density_that_is_kept_until_it_changes(self, fitted):
        guide = fitted.guide
        q = guide.get_posterior()
        assert isinstance(q, LSEDensity)
        assert guide.get_posterior() is q
        assert q.mode_weights.sort().values.tolist() == pytest.approx([0.25, 0.75], abs=0.02)
        with torch.no_grad():
            next(guide.parameters()).add_(0.0)
        assert guide.get_posterior() is not q

    def test_quantiles_are_those_of_both_modes(self, fitted):
        """Where a Normal would have its median, there is no mass."""
        guide = fitted.guide
        draws = guide.get_posterior().sample((20_000,)).squeeze(-1)
        levels = torch.tensor([0.05, 0.2, 0.4, 0.7, 0.95])
        quantiles = guide.quantiles(levels)["x"]
        share = (draws.unsqueeze(-1) < quantiles).double().mean(0)
        assert share.tolist() == pytest.approx(levels.tolist(), abs=0.02)  # 5 deviations
        assert guide.quantiles([0.2])["x"] < -2.0
        assert guide.median()["x"] > 2.0

    @pytest.mark.parametrize("parallel", [False, True], ids=["loop", "plate"])
    def test_predictive_draws_latents_and_data(self, parallel, square, truth, fitted):
        n = 4000 if parallel else 100
        predictive = Predictive(square, guide=fitted.guide, num_samples=n, parallel=parallel)
        drawn = predictive(None)
        assert drawn["x"].shape[0] == drawn["y"].shape[0] == n
        share = float((drawn["x"] > 0).double().mean())
        assert share == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / n) ** 0.5)
        assert float(drawn["y"].mean()) == pytest.approx(truth.mean_square, abs=8 / n**0.5)

    def test_the_score_of_a_trace_is_the_density(self):
        """log q(x) of a constrained site, with the Jacobian of its transform, integrates to one."""

        def model():
            pyro.sample("x", dist.Gamma(3.0, 1.0))

        guide = AutoLSEICNN(model, modes=1)
        guide.find_modes()
        trace = poutine.trace(guide).get_trace()
        z = trace.nodes["_AutoLSEICNN_latent"]["value"]
        assert trace.nodes["x"]["value"] == z.exp()
        log_q = guide.get_posterior().log_prob(z) - z.squeeze()
        assert float(trace.log_prob_sum().detach()) == pytest.approx(float(log_q.detach()))

    def test_saved_and_loaded(self, square, nine, fitted):
        """As state of a module, in a guide made anew, and whole, without the model."""
        guide = fitted.guide
        again = AutoLSEICNN(square, modes=8)  # the fit found use for two
        again(nine)
        again.load_state_dict(guide.state_dict())
        file = io.BytesIO()
        torch.save(guide, file)
        file.seek(0)
        whole = torch.load(file, weights_only=False)
        x = torch.linspace(-4.0, 4.0, 9).unsqueeze(-1)
        for copy in (again, whole):
            assert torch.equal(copy.get_posterior().log_prob(x), guide.get_posterior().log_prob(x))
            assert torch.equal(copy.median()["x"], guide.median()["x"])
        assert guide.is_for(square)
        assert not whole.is_for(square)

    def test_a_method_is_a_model(self):
        """Every mention of a method makes another object, equal to the one before."""

        class Study:
            def model(self, y):
                x = pyro.sample("x", dist.Normal(0.0, 1.0))
                pyro.sample("y", dist.Normal(x, 1.0), obs=y)

        one, y = Study(), torch.tensor(1.0)
        guide = AutoLSEICNN(one.model, modes=1)
        assert guide.is_for(one.model)
        assert not guide.is_for(Study().model)
        res = fit_guide(one.model, guide, y, steps=20, progress=False)
        assert res.log_evidence == pytest.approx(
            float(dist.Normal(0.0, 2**0.5).log_prob(y)), abs=0.01
        )
        idata = to_arviz(guide, one.model, y, num_samples=50, resample=True)
        assert "log_weight" in idata["sample_stats"]

    @pytest.mark.parametrize(
        "method",
        [EnergyELBO(), pytest.param(Trace_ELBO(10), marks=pytest.mark.slow)],
        ids=["energy", "trace"],
    )
    def test_two_guides_are_trained_in_turn(self, method):
        """They share a name in Pyro's parameter store; each keeps its own parameters."""

        def model(center):
            pyro.sample("x", dist.Normal(center, 1.0))

        guides = {c: AutoLSEICNN(model, modes=1, hidden=()) for c in (3.0, -3.0)}
        for guide in guides.values():
            guide(0.0)
        adam = {"lr": 0.05}
        loops = {c: SVI(model, g, pyro.optim.Adam(adam), method) for c, g in guides.items()}
        for _ in range(150):
            for c, svi in loops.items():
                svi.step(c)
        for c, guide in guides.items():
            assert float(guide.median()["x"]) == pytest.approx(c, abs=0.3)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_type_of_the_model_is_kept(self, dtype, square, nine, truth):
        torch.set_default_dtype(dtype)
        guide = AutoLSEICNN(square, modes=2)
        res = fit_guide(square, guide, nine.to(dtype), steps=40, progress=False)
        assert {p.dtype for p in guide.parameters()} == {dtype}
        assert guide.get_posterior().sample((3,)).dtype == dtype
        assert guide.median()["x"].dtype == dtype
        assert abs(res.log_evidence - truth.log_evidence) < 5 * res.log_evidence_error + 1e-4
