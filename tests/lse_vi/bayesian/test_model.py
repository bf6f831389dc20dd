"""The Bayesian density as a Pyro model, its posterior, and the count of modes."""

import importlib
import itertools
import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.distributions import MultivariateStudentT
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal

from benchmarks import calibration
from data_gen.mixtures import TWO
from lse_vi import (
    AutoLSEICNN,
    BayesianDensity,
    compare_densities,
    count_modes,
    density_to_arviz,
    fit_guide,
    fit_posterior,
    sample_posterior,
)
from lse_vi.bayesian.annealing import KEPT, _next_step, anneal, tail_shape
from lse_vi.bayesian.fit import GUIDES
from lse_vi.bayesian.laplace import find_mode, laplace_root
from lse_vi.bayesian.mode_count import ModeCount
from lse_vi.bayesian.peaks import density_peaks
from lse_vi.bayesian.proposals import Student
from lse_vi.bayesian.result import DensityPosterior, Evidence, interval


def two_groups(n=120, apart=3.0):
    return torch.cat([torch.randn(n // 3) - apart, torch.randn(n - n // 3) + apart])


@pytest.fixture(scope="module")
def fit():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(3)
    return fit_posterior(two_groups(), modes=2, draws=400, progress=False)


class TestModel:
    def test_pyro_log_joint_is_ours_in_any_frame(self):
        model = BayesianDensity(two_groups(40), modes=2)
        root = (0.1 * torch.randn(model.size, model.size)).tril(-1) + torch.eye(model.size)
        for framed in (model, model.in_frame(torch.randn(model.size), root)):
            trace = poutine.trace(framed).get_trace()
            expected = model.log_joint(framed.theta(trace.nodes["z"]["value"]))
            log_det = framed.root.diagonal().log().sum()  # of theta in z
            torch.testing.assert_close(trace.log_prob_sum(), expected + log_det)

    @pytest.mark.parametrize("dim", [1, 2, 3])
    def test_particles_vectorise_under_pyro(self, dim):
        model = BayesianDensity(torch.randn(20, dim), modes=2)
        guide = AutoDiagonalNormal(model, init_scale=0.01)
        guide(), guide.loc.data.zero_()
        elbos = [
            Trace_ELBO(64, vectorize_particles=v, max_plate_nesting=1).loss(model, guide)
            for v in (True, False)
        ]
        assert elbos[0] == pytest.approx(elbos[1], abs=2.0)

    @pytest.mark.parametrize("modes", [1, 2, 3])
    def test_a_proposal_is_averaged_over_the_labellings(self, modes):
        size = 2 * modes
        loc, root = torch.randn(size), torch.randn(size, size).tril(-1) + torch.eye(size)
        theta = torch.randn(50, size)
        law = MultivariateStudentT(8.0, loc, root)
        blocks = theta.unflatten(-1, (modes, -1))
        each = [
            law.log_prob(blocks[:, list(order)].flatten(-2))
            for order in itertools.permutations(range(modes))
        ]
        expected = torch.stack(each).exp().mean(0).log()
        torch.testing.assert_close(Student(loc, root).log_prob(theta, modes), expected)

    def test_a_stage_keeps_its_share_of_the_draws_and_always_moves_on(self):
        log_w = 30 * torch.randn(1000)
        step = _next_step(log_w, 1.0)
        kept = 1 / (1000 * torch.softmax(step * log_w, 0).square().sum())
        assert float(kept) == pytest.approx(KEPT, abs=1e-3)
        assert _next_step(1e-3 * log_w, 0.5) == 0.5
        log_w[:500] = torch.finfo(log_w.dtype).min  # half of the draws have no density
        assert 0 < _next_step(log_w, 1.0) < 1e-6

    def test_evidence_of_a_tiny_model_is_that_of_brute_force(self):
        """Two Gaussian modes and 6 points: prior draws estimate p(x) without any guide."""
        model = BayesianDensity(torch.tensor([-1.2, -1.0, -0.8, 0.9, 1.0, 1.2]), modes=2, hidden=())
        log_likelihood = model.log_likelihood(model.prior_sample(400_000)).sum(0)
        w = (log_likelihood - log_likelihood.max()).exp()
        assert float(w.std() / w.mean()) < 0.03 * 400_000**0.5  # its own error, in nats
        expected = float(log_likelihood.max() + w.mean().log())
        center = find_mode(model)
        root = laplace_root(model.log_joint, center, model.coordinates.prior_sd)
        wide = Student(center, 2 * root)
        found = [anneal(model, wide, 2000) for _ in range(4)]
        for one in found:
            assert abs(one.log_evidence - expected) < 4 * one.log_evidence_error + 0.06
        spread = float(torch.tensor([one.log_evidence for one in found]).std())
        assert spread < 3 * found[0].log_evidence_error

    def test_a_log_joint_that_is_nowhere_finite_is_refused(self):
        model = BayesianDensity(torch.randn(20), modes=1, hidden=())
        model.log_joint = lambda theta: torch.full_like(theta[:, 0], torch.nan)
        law = Student(torch.zeros(model.size), torch.eye(model.size))
        with pytest.raises(ValueError, match="NaN or minus infinity at all 50 draws of the guide"):
            anneal(model, law, 50)
        assert tail_shape(model, law, 50) == torch.inf


class TestPosterior:
    def test_density_cdf_and_draws_agree(self, fit):
        x = torch.linspace(-12.0, 12.0, 2001)
        q = fit.density(x)
        mass = torch.cumulative_trapezoid(q, x)
        torch.testing.assert_close(mass[:, -1], torch.ones(len(q)), atol=1e-4, rtol=0)
        torch.testing.assert_close(fit.cdf(x)[:, 1:], mass, atol=2e-3, rtol=0)
        replicate = fit.predictive(200)
        assert replicate.shape == (200, 120, 1)
        below = (replicate < 0).double().mean()
        assert float(below) == pytest.approx(float(fit.cdf(torch.zeros(1)).mean()), abs=0.02)

    def test_peaks_are_the_local_maxima(self, fit):
        """Climbing from the modes finds what a fine grid shows, up to slivers of mass."""
        model = BayesianDensity(two_groups(60, apart=1.3), modes=3)
        theta = model.prior_sample(200)
        x = torch.linspace(-12, 12, 8001)
        log_q = model.coordinates.log_density(theta, x.unsqueeze(-1))
        up = log_q.diff(dim=-1) > 0
        on_grid = (up[:, :-1] & ~up[:, 1:]).sum(-1)
        peaks = density_peaks(model.coordinates, theta)
        heavy = model.coordinates.masses(theta).amin(-1) > 0.02  # none too small to count
        assert heavy.sum() > 50
        assert (peaks.number == on_grid)[heavy].double().mean() > 0.95
        torch.testing.assert_close(peaks.mass[heavy].sum(-1), torch.ones(int(heavy.sum())))

    def test_peak_table_holds_the_truth(self, fit):
        assert fit.mode_probabilities.get(2, 0) > 0.9
        left, right = fit.peak_table(0.99)
        assert left.location_low < -3.0 < left.location_high
        assert right.location_low < 3.0 < right.location_high
        assert left.mass_low < 1 / 3 < left.mass_high
        assert "number of peaks" in str(fit)

    def test_same_seed_same_draws_and_the_global_state_is_left_alone(self):
        state = torch.get_rng_state()
        a, b = (
            fit_posterior(torch.arange(9.0) ** 2, modes=1, draws=20, steps=5, progress=False)
            for _ in range(2)
        )
        assert torch.equal(a.theta, b.theta)
        assert torch.equal(state, torch.get_rng_state())

    def test_the_guide_with_several_modes_leaves_a_guide_of_the_user_alone(self):
        """It has the same name in Pyro's parameter store; and its seed is the fit's."""

        def model():
            pyro.sample("x", dist.Normal(0.0, 1.0))

        AutoLSEICNN(model, modes=1)()
        before = dict(pyro.get_param_store().named_parameters())
        quick = {"modes": 1, "hidden": (), "guide": "lse_icnn", "draws": 50, "progress": False}
        seeds = []

        def seeded(*args, **options):
            seeds.append(options["seed"])
            return fit_guide(*args, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(importlib.import_module("lse_vi.bayesian.fit"), "fit_guide", seeded)
            fit_posterior(torch.randn(20), seed=7, **quick)
        after = dict(pyro.get_param_store().named_parameters())
        assert seeds == [7]
        assert len(before) == len(after) > 0
        assert all(after[name] is p for name, p in before.items())

    def test_cdf_takes_points_of_one_dimension(self, fit):
        assert fit.cdf(torch.zeros(3, 1)).shape == (400, 3)
        with pytest.raises(ValueError, match="x must have last dimension 1"):
            fit.cdf(torch.zeros(3, 2))

    @pytest.mark.parametrize("guide", [g for g in GUIDES if g != "lse_icnn"])
    def test_every_guide_finds_two_groups(self, guide):
        post = fit_posterior(
            two_groups(60), modes=2, guide=guide, draws=100, steps=60, annealed=False,
            progress=False,
        )  # fmt: skip
        assert max(post.mode_probabilities, key=post.mode_probabilities.get) == 2

    def test_the_guide_with_several_modes_gives_the_same_evidence(self):
        x = two_groups(60)
        full, lse = (
            fit_posterior(x, modes=1, hidden=(), guide=guide, draws=200, progress=False)
            for guide in ("full", "lse_icnn")
        )
        assert full.evidence.log_evidence == pytest.approx(lse.evidence.log_evidence, abs=0.02)

    def test_arviz_dimensions_have_names(self, fit):
        idata = density_to_arviz(fit)
        posterior = idata["posterior"]
        assert posterior["mass"].dims == ("chain", "draw", "mode")
        assert posterior["slope"].dims == ("chain", "draw", "mode", "layer", "unit")
        assert posterior["density"].dims == ("chain", "draw", "grid")
        assert idata["log_likelihood"]["x"].dims == ("chain", "draw", "point")
        assert idata["posterior_predictive"]["x"].dims == ("chain", "draw", "point", "axis")
        torch.testing.assert_close(
            torch.as_tensor(posterior["mass"].values.sum(-1)), torch.ones(1, 400)
        )

    def test_nuts_agrees_with_the_guide(self):
        x = torch.cat([torch.randn(40) - 3, torch.randn(40) + 3])
        fit = fit_posterior(x, modes=2, hidden=(), progress=False)
        random.seed(1), np.random.seed(1)  # noqa: NPY002
        before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        torch.set_num_threads(2)
        chain = sample_posterior(fit, chains=2, draws=120, warmup=40, progress=False)
        assert torch.get_num_threads() == 2
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
        assert chain.theta.shape == (2, 120, 6)
        at = torch.linspace(-4, 4, 9)
        gap = (fit.cdf(at).mean(0) - chain.cdf(at).mean(0)).abs()
        assert (gap < 0.5 * fit.cdf(at).std(0) + 0.002).all()


class TestCalibration:
    """Small versions of ``python -m benchmarks calibration``; the large one is slow."""

    @staticmethod
    def coverage(sets, n, **options):
        at = torch.as_tensor(np.linspace(-4.5, 3.5, 17))
        truth = torch.as_tensor(TWO.cdf(at.numpy()))
        held = []
        for seed in range(sets):
            post = fit_posterior(TWO.sample(n, seed), seed=seed, progress=False, **options)
            low, high = interval(post.cdf(at), 0.9)
            held.append(((low <= truth) & (truth <= high)).double().mean())
        return float(torch.stack(held).mean())

    def test_bands_cover(self):
        """Points of one set rise and fall together: six sets say 90 % to within 0.25 or so."""
        assert self.coverage(6, 100, guide="laplace", draws=200) > 0.65

    @pytest.mark.slow
    def test_bands_cover_at_their_level(self):
        assert 0.8 <= self.coverage(20, 300, draws=500) <= 0.97

    @pytest.mark.slow
    def test_ranks_of_simulated_truths_are_uniform(self):
        """Simulation-based calibration; nine quantities, so a thousandth each."""
        for row in calibration.sbc(100, seed=3, guide="full"):
            assert row["p"] > 0.001, row


class TestCount:
    def test_separated_groups_are_counted_and_loo_prefers_two(self):
        count = count_modes(two_groups(100), modes=3, draws=200, guide="laplace", progress=False)
        assert count.most_probable == 2
        assert sum(count.probabilities.values()) == pytest.approx(1.0)
        assert sum(count.part_probabilities.values()) == pytest.approx(1.0)
        table = compare_densities(count.posteriors)
        assert table.index[-1] == "1"
        assert "log evidence" in str(count)

    def test_draws_keep_the_proportions_where_a_posterior_holds_too_few(self):
        model = BayesianDensity(torch.randn(20), modes=2, hidden=())
        evidence = {1: 0.0, 2: -1.0}  # P(K | x) = 0.731, 0.269
        count = ModeCount(
            {
                k: DensityPosterior(
                    model,
                    model.prior_sample(200).unsqueeze(0),
                    source="prior",
                    evidence=Evidence(log_p, 0.0, 0.0),
                )
                for k, log_p in evidence.items()
            }
        )
        assert count._share(100) == {1: 73, 2: 27}
        assert count._share(1000) == {1: 200, 2: 74}
        assert count.density(torch.zeros(3)).shape == count.cdf(torch.zeros(3)).shape == (274, 3)

    @pytest.mark.slow
    def test_separated_groups_are_counted_in_two_dimensions(self):
        for seed in (210, 211):
            torch.manual_seed(seed)
            side = torch.where(torch.rand(150, 1) < 0.5, -1.0, 1.0)
            x = torch.randn(150, 2) + side * torch.tensor([3.0, 0.0])
            count = count_modes(x, modes=3, draws=500, seed=seed, progress=False)
            assert count.probabilities[2] > 0.8
            left, right = (peak.location for peak in count.best.peak_table())
            assert (left + right).norm() < 1.0
            assert (right - left)[0] > 4.0

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match="constant in column"):
            count_modes(torch.ones(30))
        with pytest.raises(ValueError, match="at least 4 points"):
            fit_posterior(torch.arange(3.0))
        with pytest.raises(ValueError, match="1 to 3 dimensions"):
            fit_posterior(torch.randn(30, 4))
        with pytest.raises(ValueError, match="guide must be one of"):
            fit_posterior(torch.randn(30), guide="best")
        with pytest.raises(ValueError, match="from at most 10 coordinates, but 3 modes"):
            fit_posterior(torch.randn(30), modes=3, guide="lse_icnn")
        with pytest.raises(ValueError, match="units must be"):
            fit_posterior(torch.randn(30), units=(0.0, -1.0))
        with pytest.raises(ValueError, match="at most 6"):
            count_modes(torch.randn(30), modes=9, guide="laplace", progress=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_data_on_a_gpu_are_computed_with_on_the_cpu():
    x = torch.randn(30)
    here, there = (
        fit_posterior(data, modes=1, guide="laplace", draws=50, progress=False)
        for data in (x, x.cuda())
    )
    assert there.theta.device.type == "cpu"
    torch.testing.assert_close(here.theta, there.theta)
