"""The guide against truths: its modes and weights, its supports, its gradients, its errors."""

import functools
import io
import math

import matplotlib
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO, TraceEnum_ELBO

import lse_vi.guide_training
from lse_vi import (
    AutoLSEICNN,
    EnergyELBO,
    ExactDraws,
    LaplaceMixture,
    LSEDensity,
    NonFiniteLossError,
    fit_guide,
)
from lse_vi.checkpoint import Checkpoint
from lse_vi.guide_plots import plot_mode_weights, plot_pairs

matplotlib.use("Agg")


NINE = torch.tensor(9.0, dtype=torch.float64)


def square(y):
    """x^2 is seen with noise: two modes near +-3, of weights 3/4 and 1/4 as in the prior."""
    x = pyro.sample("x", dist.Normal(0.0, 3.0))
    pyro.factor("half", torch.where(x > 0, math.log(1.5), math.log(0.5)))
    pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)


PEAK = (9.0 - 1 / 18) ** 0.5  # where x / 9 + 2 x (x^2 - 9) = 0


def truth():
    """log p(y = 9) and E[x^2 | y], by the trapezoidal rule."""
    x = torch.linspace(-12.0, 12.0, 200_001)
    joint = dist.Normal(0.0, 3.0).log_prob(x) + dist.Normal(x**2, 1.0).log_prob(NINE)
    joint = joint + torch.where(x > 0, math.log(1.5), math.log(0.5))
    log_z = torch.logsumexp(joint, 0)
    return float(log_z + math.log(24.0 / 200_000)), float(((joint - log_z).exp() * x**2).sum())


@functools.cache  # not a fixture: those of a module start before the one that sets float64
def fitted():
    """A fit that several tests look at."""
    return fit_guide(square, AutoLSEICNN(square, modes=2), NINE, steps=300, progress=False)


# -- what the fit finds ---------------------------------------------------------------------------


class TestFit:
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_modes_weights_and_evidence(self, seed):
        guide = AutoLSEICNN(square, modes=2)
        res = fit_guide(square, guide, NINE, steps=300, seed=seed, progress=False)
        exact = truth()[0]
        assert res.mode_weights.tolist() == pytest.approx([0.75, 0.25], abs=0.02)
        assert res.mode_locations["x"].tolist() == pytest.approx([PEAK, -PEAK], abs=1e-3)
        assert abs(res.log_evidence - exact) < 4 * res.log_evidence_error
        assert res.log_evidence_error < 0.01
        assert exact - res.elbo < 0.02 + 4 * res.elbo_error
        assert res.ess > 0.95

    def test_nothing_to_warn_of(self):
        """Two Gaussian modes, |x| seen with noise: the guide is exact, and knows it."""

        def model():
            x = pyro.sample("x", dist.Normal(0.0, 3.0))
            pyro.sample("y", dist.Normal(x.abs(), 0.3), obs=torch.tensor(4.0))

        res = fit_guide(model, AutoLSEICNN(model, modes=4), progress=False)
        exact = math.log(2.0) + float(dist.Normal(0.0, 9.09**0.5).log_prob(torch.tensor(4.0)))
        assert res.log_evidence == pytest.approx(exact, abs=1e-3)
        assert res.elbo == pytest.approx(exact, abs=2e-3)
        assert res.k_hat < 0.7
        assert res.warnings == ()

    def test_the_result_prints(self):
        text = str(fitted())
        assert text.startswith("fit of AutoLSEICNN: 2 modes, 2 convex parts, 1 dimensions")
        words = ("ELBO", "log evidence", "ESS", "k-hat", "weight 0.7", "  x 2.991", "  x -2.991")
        assert [word for word in words if word not in text] == []

    def test_history(self):
        history = fitted().history
        assert set(history) == {"step", "elbo", "misfit"}
        assert history["step"] == list(range(0, 20 * len(history["step"]), 20))
        assert history["misfit"][-1] < history["misfit"][0]

    def test_points_know_their_mode(self):
        assert fitted().mode_of(torch.tensor([[3.0], [-3.0]])).tolist() == [0, 1]

    def test_one_seed_one_result_and_the_global_state_stays(self):
        before = torch.get_rng_state()
        one, two = (
            fit_guide(square, AutoLSEICNN(square, modes=2), NINE, steps=60, progress=False)
            for _ in "ab"
        )
        assert torch.equal(before, torch.get_rng_state())
        assert (one.elbo, one.log_evidence) == (two.elbo, two.log_evidence)
        for a, b in zip(one.guide.parameters(), two.guide.parameters(), strict=True):
            assert torch.equal(a, b)

    def test_an_interrupted_fit_goes_on_where_it_was(self, tmp_path, monkeypatch):
        def run(path):
            guide = AutoLSEICNN(square, modes=2)
            return fit_guide(square, guide, NINE, steps=100, progress=False, checkpoint=path)

        whole = run(tmp_path / "whole")
        saved, save = 0, Checkpoint.save

        def save_thrice(self, state):
            nonlocal saved
            saved += 1
            if saved == 4:
                raise KeyboardInterrupt
            save(self, state)

        monkeypatch.setattr(Checkpoint, "save", save_thrice)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut")
        monkeypatch.undo()
        resumed = run(tmp_path / "cut")
        assert resumed.elbo == whole.elbo
        assert resumed.history == whole.history

    def test_spare_modes_serve_peaks_that_are_not_gaussian(self):
        def bent():
            x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.factor("bend", -2.0 * (x[..., 1] - x[..., 0] ** 2) ** 2)

        def straight():
            pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1))

        modes = []
        for model in (bent, straight):
            guide = AutoLSEICNN(model, modes=4)
            guide.find_modes()
            modes.append(guide.potential.modes)
        assert modes == [4, 1]


class TestWarnings:
    def test_a_mode_that_the_guide_has_no_room_for(self):
        res = fit_guide(square, AutoLSEICNN(square, modes=1), NINE, steps=60, progress=False)
        text = str(res)
        assert "WARNING: the search found 2 peaks, but the guide has room for 1" in text
        assert "WARNING: a fresh search found 1 peak(s) outside the guide: x -2.991" in text
        assert float(res.missed.share) == pytest.approx(0.25, abs=0.03)

    def test_a_mode_that_the_search_did_not_meet(self, monkeypatch):
        """The ESS is content; the search after the fit is not."""
        find = AutoLSEICNN.find_modes

        def half_blind(self, *args):
            search = find(self, *args)
            first = search.peaks.select(search.peaks.x[:, 0] > 0)
            self.start_on(first, self.log_joint(*args))
            return search._replace(peaks=first)

        monkeypatch.setattr(AutoLSEICNN, "find_modes", half_blind)
        res = fit_guide(square, AutoLSEICNN(square, modes=2), NINE, steps=100, progress=False)
        assert res.ess > 0.9
        assert "outside the guide: x -2.991" in res.warnings[-1]
        assert "Fit again with more modes" in res.warnings[-1]

    def test_a_funnel(self):
        def funnel():
            scale = pyro.sample("scale", dist.LogNormal(0.0, 2.0))
            with pyro.plate("group", 6):
                pyro.sample("effect", dist.Normal(0.0, scale))

        res = fit_guide(funnel, AutoLSEICNN(funnel, modes=2), steps=150, progress=False)
        assert res.k_hat > 0.7 or res.ess < 0.05
        assert any("Reparametrise the model" in text for text in res.warnings)


# -- the guide inside Pyro ------------------------------------------------------------------------

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
    def test_its_posterior_is_a_density_that_is_kept_until_it_changes(self):
        guide = fitted().guide
        q = guide.get_posterior()
        assert isinstance(q, LSEDensity)
        assert guide.get_posterior() is q
        assert q.mode_weights.sort().values.tolist() == pytest.approx([0.25, 0.75], abs=0.02)
        with torch.no_grad():
            next(guide.parameters()).add_(0.0)
        assert guide.get_posterior() is not q

    def test_quantiles_are_those_of_both_modes(self):
        """Where a Normal would have its median, there is no mass."""
        guide = fitted().guide
        draws = guide.get_posterior().sample((20_000,)).squeeze(-1)
        levels = torch.tensor([0.05, 0.2, 0.4, 0.7, 0.95])
        quantiles = guide.quantiles(levels)["x"]
        share = (draws.unsqueeze(-1) < quantiles).double().mean(0)
        assert share.tolist() == pytest.approx(levels.tolist(), abs=0.02)  # 5 deviations
        assert guide.quantiles([0.2])["x"] < -2.0
        assert guide.median()["x"] > 2.0

    @pytest.mark.parametrize("parallel", [False, True], ids=["loop", "plate"])
    def test_predictive_draws_latents_and_data(self, parallel):
        n = 4000 if parallel else 100
        predictive = Predictive(square, guide=fitted().guide, num_samples=n, parallel=parallel)
        drawn = predictive(None)
        assert drawn["x"].shape[0] == drawn["y"].shape[0] == n
        share = float((drawn["x"] > 0).double().mean())
        assert share == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / n) ** 0.5)
        assert float(drawn["y"].mean()) == pytest.approx(truth()[1], abs=8 / n**0.5)

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

    def test_saved_and_loaded(self):
        """As state of a module, in a guide made anew, and whole, without the model."""
        guide = fitted().guide
        again = AutoLSEICNN(square, modes=8)  # the fit found use for two
        again(NINE)
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

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_type_of_the_model_is_kept(self, dtype):
        torch.set_default_dtype(dtype)
        guide = AutoLSEICNN(square, modes=2)
        res = fit_guide(square, guide, NINE.to(dtype), steps=40, progress=False)
        assert {p.dtype for p in guide.parameters()} == {dtype}
        assert guide.get_posterior().sample((3,)).dtype == dtype
        assert guide.median()["x"].dtype == dtype
        assert abs(res.log_evidence - truth()[0]) < 5 * res.log_evidence_error + 1e-4


# -- gradients ------------------------------------------------------------------------------------


class Exact:
    """A guide for `square` in one dimension, away from the best one, and its exact gradients."""

    def __init__(self, simpson_grid):
        pyro.set_rng_seed(3)
        self.guide = AutoLSEICNN(square, modes=2, hidden=(3,))
        self.guide.find_modes(NINE)
        with torch.no_grad():
            for p in self.guide.parameters():
                p.add_(0.2 * torch.randn_like(p))
        self.parameters = [p for p in self.guide.parameters() if p.requires_grad]
        x, weight = simpson_grid(-12.0, 12.0, 4000)
        energy = self.guide.potential(x)
        log_q = -energy - (weight.log() - energy).logsumexp(0)
        log_joint = self.guide.log_joint(NINE)(x).detach()
        loss = (weight * log_q.exp() * (log_q - log_joint)).sum()
        self.loss = float(loss.detach())
        self.gradient = self.flat(torch.autograd.grad(loss, self.parameters))

    @staticmethod
    def flat(parts):
        return torch.cat([part.flatten() for part in parts])

    def estimate(self, elbo):
        """Loss and gradient once, as SVI would see them."""
        for p in self.parameters:
            p.grad = None
        loss = elbo.loss_and_grads(square, self.guide, NINE)
        return loss, self.flat([p.grad for p in self.parameters])

    @staticmethod
    def agrees(gradients, expected):
        """Along 20 fixed directions, the mean of ``gradients`` (repeats, n) is as expected."""
        along = torch.randn(expected.numel(), 20)
        error = (gradients @ along).std(0) / len(gradients) ** 0.5
        z = (gradients.mean(0) - expected) @ along / error
        assert float(z.abs().max()) < 4.5


@pytest.fixture
def exact(simpson_grid):
    return Exact(simpson_grid)


class TestGradients:
    def test_importance_samples_are_consistent(self, exact):
        """The error falls as one over the root of their number."""
        errors = []
        for n in (256, 65_536):
            runs = [exact.estimate(EnergyELBO(LaplaceMixture(n))) for _ in range(4)]
            gap = torch.stack([gradient for _, gradient in runs]) - exact.gradient
            errors.append(float(gap.square().sum(-1).mean().sqrt() / exact.gradient.norm()))
        assert runs[0][0] == pytest.approx(exact.loss, abs=0.02)
        assert errors[1] < 0.05
        assert errors[1] < errors[0] / 8  # 16 expected

    def test_exact_draws_are_unbiased_up_to_a_known_factor(self, exact):
        """On average over n draws the covariance is 1 - 1/n times the true one."""
        n, repeats = 4, 200
        elbo = EnergyELBO(ExactDraws(n, scale=LaplaceMixture(64)))
        gradients = torch.stack([exact.estimate(elbo)[1] for _ in range(repeats)])
        exact.agrees(gradients, (1 - 1 / n) * exact.gradient)

    @pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
    @pytest.mark.parametrize("elbo", [Trace_ELBO, TraceEnum_ELBO])
    def test_under_elbos_of_pyro(self, exact, elbo):
        """Their own score function, with the gradient of log Z: unbiased too."""
        elbo = elbo(num_particles=200, vectorize_particles=True, max_plate_nesting=0)
        gradients = torch.stack([exact.estimate(elbo)[1] for _ in range(100)])
        exact.agrees(gradients, exact.gradient)

    @pytest.mark.parametrize(
        "elbo",
        [
            EnergyELBO(LaplaceMixture(256)),
            EnergyELBO(ExactDraws(256)),
            Trace_ELBO(num_particles=256, vectorize_particles=True),
        ],
        ids=["importance", "exact", "trace"],
    )
    def test_svi_descends(self, elbo):
        guide = AutoLSEICNN(square, modes=2)
        guide.find_modes(NINE)
        with torch.no_grad():
            guide.potential.network.loc += 0.15  # about one deviation of the modes
        svi = SVI(square, guide, pyro.optim.Adam({"lr": 0.02}), elbo)
        before = EnergyELBO(LaplaceMixture(8192)).loss(square, guide, NINE)
        for _ in range(60):
            svi.step(NINE)
        after = EnergyELBO(LaplaceMixture(8192)).loss(square, guide, NINE)
        assert after < before - 0.2
        assert after < -truth()[0] + 0.05

    def test_parameters_of_the_model_are_trained(self):
        def model(y):
            bias = pyro.param("bias", torch.tensor(0.0))
            x = pyro.sample("x", dist.Normal(0.0, 0.1))
            pyro.sample("y", dist.Normal(x + bias, 1.0), obs=y)

        guide = AutoLSEICNN(model, modes=1)
        svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), EnergyELBO(LaplaceMixture(64)))
        for _ in range(150):
            svi.step(torch.tensor(3.0))
        assert float(pyro.param("bias").detach()) == pytest.approx(3.0, abs=0.3)


# -- figures --------------------------------------------------------------------------------------


class TestFigures:
    def test_pairs(self):
        def model():
            pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("a", dist.LogNormal(0.0, 0.3))

        res = fit_guide(model, AutoLSEICNN(model, modes=1), steps=20, progress=False)
        figure = plot_pairs(res, draws=50)
        axes = np.reshape(figure.axes, (3, 3))
        assert [ax.get_xlabel() for ax in axes[-1]] == ["b[0]", "b[1]", "a"]
        assert len(axes[1, 0].lines[0].get_xdata()) == 50
        assert min(axes[2, 0].lines[0].get_ydata()) > 0
        assert len(plot_pairs(res, sites=["a"], draws=50).axes) == 1
        with pytest.raises(ValueError, match=r"sites: the model has \['a', 'b'\], but not 'c'"):
            plot_pairs(res, sites=["c"])
        matplotlib.pyplot.close("all")

    def test_draws_are_coloured_by_mode(self):
        (ax,) = plot_pairs(fitted(), draws=400).axes
        colors = {patch.get_facecolor() for patch in ax.patches if patch.get_height()}
        assert len(colors) == 2
        matplotlib.pyplot.close("all")

    def test_weights_with_what_was_missed(self):
        res = fit_guide(square, AutoLSEICNN(square, modes=1), NINE, steps=20, progress=False)
        for result, heights in ((fitted(), [0.75, 0.25]), (res, [0.75, 0.25])):
            ax = plot_mode_weights(result)
            assert [bar.get_height() for bar in ax.patches] == pytest.approx(heights, abs=0.03)
            assert (ax.get_legend() is None) == (result is fitted())
        matplotlib.pyplot.close("all")


# -- bad input ------------------------------------------------------------------------------------


class TestErrors:
    def test_discrete_latents(self):
        def model():
            pyro.sample("k", dist.Bernoulli(0.5))
            pyro.sample("x", dist.Normal(0.0, 1.0))

        with pytest.raises(ValueError, match="discrete"):
            fit_guide(model, AutoLSEICNN(model), progress=False)

    def test_no_latents(self):
        def model():
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(1.0))

        with pytest.raises(RuntimeError, match="no latent variables"):
            fit_guide(model, AutoLSEICNN(model), progress=False)

    def test_nan_everywhere(self):
        with pytest.raises(ValueError, match=r"NaN or infinite at all 128 starts.*check the data"):
            fit_guide(square, AutoLSEICNN(square), torch.tensor(math.nan), progress=False)

    def test_nan_within_the_guide(self):
        def model():
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.factor("hole", torch.where((x - 1).abs() < 0.3, math.nan, 0.0))

        with pytest.raises(ValueError, match="the log joint is NaN at some draws of the guide"):
            fit_guide(model, AutoLSEICNN(model, modes=1), progress=False)

    def test_an_unbounded_joint(self):
        def model():
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.factor("away", x**2)

        with pytest.raises(ValueError, match=r"unbounded.*give every latent variable a proper"):
            fit_guide(model, AutoLSEICNN(model), progress=False)

    def test_a_subsampled_plate(self):
        def model(y):
            mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(y), subsample_size=2) as i:
                pyro.sample("y", dist.Normal(mu, 1.0), obs=y[i])

        with pytest.raises(ValueError, match=r"plate 'data' around site 'y' is subsampled, 2 of 6"):
            fit_guide(model, AutoLSEICNN(model), torch.zeros(6), progress=False)

    def test_a_model_that_vmap_cannot_run_is_run_once_per_draw(self):
        def model():
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(x if x.item() > 0 else 2 * x, 1.0), obs=torch.tensor(1.0))

        guide = AutoLSEICNN(model, modes=1)
        guide()
        with pytest.warns(UserWarning, match="the model cannot run under torch.vmap"):
            value = guide.log_joint()(torch.tensor([[1.0], [-1.0]]))
        by_hand = -0.5 * torch.tensor([1.0 + 0.0, 1.0 + 9.0]) - math.log(2 * math.pi)
        assert value.tolist() == pytest.approx(by_hand.tolist())

    def test_a_loss_that_is_not_finite(self, monkeypatch):
        monkeypatch.setattr(
            lse_vi.guide_training, "rule_elbo", lambda rule, energy, log_joint: energy.sum() * 1e400
        )
        with pytest.raises(NonFiniteLossError, match="step 0"):
            fit_guide(square, AutoLSEICNN(square, modes=2), NINE, progress=False)

    def test_a_guide_of_another_kind_or_model(self):
        with pytest.raises(TypeError, match="guide must be an AutoLSEICNN, but got function"):
            fit_guide(square, square, NINE)
        with pytest.raises(ValueError, match="model must be the one that the guide was made for"):
            fit_guide(lambda y: square(y), AutoLSEICNN(square), NINE)

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"modes": 0}, "modes must be at least 1"),
            ({"hidden": (0,)}, "hidden"),
            ({"init_scale": -1.0}, "init_scale must be"),
        ],
    )
    def test_options_of_the_guide(self, options, text):
        with pytest.raises(ValueError, match=text):
            AutoLSEICNN(square, **options)

    @pytest.mark.parametrize(
        "options",
        [{"steps": 0}, {"samples": 1}, {"learning_rate": 0.0}, {"tolerance": -1.0}],
        ids=lambda o: next(iter(o)),
    )
    def test_options_of_the_fit(self, options):
        with pytest.raises(ValueError, match=next(iter(options))):
            fit_guide(square, AutoLSEICNN(square), NINE, **options)

    def test_another_checkpoint(self, tmp_path):
        path = tmp_path / "fit"
        guide = AutoLSEICNN(square, modes=2)
        fit_guide(square, guide, NINE, steps=20, progress=False, checkpoint=path)
        with pytest.raises(ValueError, match="checkpoint"):
            fit_guide(square, guide, NINE + 1, steps=20, progress=False, checkpoint=path)


def test_a_peak_where_autograd_has_no_second_derivative():
    """Torch's logaddexp has NaN for it far from where its terms meet; the peak counts anyway."""

    def model():
        x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1).mask(False))
        one, two = (dist.Normal(c, 1.0).log_prob(x).sum(-1) for c in (-20.0, 20.0))
        pyro.factor("both", torch.logaddexp(one, two))

    guide = AutoLSEICNN(model, modes=2)
    guide()
    at = torch.full((1, 2), 20.0)
    log_joint = guide.log_joint()
    assert not log_joint._autograd_hessian(at).isfinite().all()
    torch.testing.assert_close(
        log_joint.hessian(at), -torch.eye(2).unsqueeze(0), rtol=1e-8, atol=1e-8
    )
    assert len(guide.find_modes().peaks) == 2


def test_a_heavy_tail_of_little_mass_is_told_from_a_bad_fit():
    """k-hat alone says neither: with nearly all draws counting, means hold and tails do not."""

    def model():
        pyro.sample("x", dist.StudentT(3.0, 0.0, 1.0))

    texts = {}
    for modes in (1, 6):
        res = fit_guide(model, AutoLSEICNN(model, modes=modes, hidden=()), progress=False)
        assert res.k_hat > 0.7
        texts[res.ess > 0.9] = res.warnings[0]
    assert "do not trust tail probabilities" in texts[True]
    assert "the evidence and importance-resampled draws cannot be trusted" in texts[False]
