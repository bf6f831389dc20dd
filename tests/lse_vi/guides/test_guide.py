"""The guide against truths: its modes, weights and evidence, and what it warns of."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import AutoLSEICNN, fit_guide
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.guides.diagnostics import importance
from lse_vi.guides.peak_search import climb
from lse_vi.numerics.pareto import smooth

PEAK = (9.0 - 1 / 18) ** 0.5  # of `square`, where x / 9 + 2 x (x^2 - 9) = 0


class TestFit:
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_modes_weights_and_evidence(self, seed, square, nine, truth):
        guide = AutoLSEICNN(square, modes=2)
        res = fit_guide(square, guide, nine, steps=300, seed=seed, progress=False)
        exact = truth.log_evidence
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

    def test_the_result_prints(self, fitted):
        text = str(fitted)
        assert text.startswith("fit of AutoLSEICNN: 2 modes, 2 convex parts, 1 dimensions")
        words = ("ELBO", "log evidence", "ESS", "k-hat", "weight 0.7", "  x 2.991", "  x -2.991")
        assert [word for word in words if word not in text] == []

    def test_history(self, fitted):
        history = fitted.history
        assert set(history) == {"step", "elbo", "misfit"}
        assert history["step"] == list(range(0, 20 * len(history["step"]), 20))
        assert history["misfit"][-1] < history["misfit"][0]

    def test_points_know_their_mode(self, fitted):
        assert fitted.mode_of(torch.tensor([[3.0], [-3.0]])).tolist() == [0, 1]

    def test_one_seed_one_result_and_the_global_state_stays(self, square, nine):
        before = torch.get_rng_state()
        one, two = (
            fit_guide(square, AutoLSEICNN(square, modes=2), nine, steps=60, progress=False)
            for _ in "ab"
        )
        assert torch.equal(before, torch.get_rng_state())
        assert (one.elbo, one.log_evidence) == (two.elbo, two.log_evidence)
        for a, b in zip(one.guide.parameters(), two.guide.parameters(), strict=True):
            assert torch.equal(a, b)

    def test_an_interrupted_fit_goes_on_where_it_was(self, tmp_path, monkeypatch, square, nine):
        def run(path):
            guide = AutoLSEICNN(square, modes=2)
            return fit_guide(square, guide, nine, steps=100, progress=False, checkpoint=path)

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
    def test_a_mode_that_the_guide_has_no_room_for(self, square, nine):
        res = fit_guide(square, AutoLSEICNN(square, modes=1), nine, steps=60, progress=False)
        text = str(res)
        assert "WARNING: the search found 2 peaks, but the guide has room for 1" in text
        assert "WARNING: a fresh search found 1 peak(s) outside the guide: x -2.991" in text
        assert float(res.missed.share) == pytest.approx(0.25, abs=0.03)

    def test_a_mode_that_the_search_did_not_meet(self, monkeypatch, square, nine):
        """The ESS is content; the search after the fit is not."""
        find = AutoLSEICNN.find_modes

        def half_blind(self, *args):
            search = find(self, *args)
            first = search.peaks.select(search.peaks.x[:, 0] > 0)
            self.start_on(first, self.log_joint(*args))
            return search._replace(peaks=first)

        monkeypatch.setattr(AutoLSEICNN, "find_modes", half_blind)
        res = fit_guide(square, AutoLSEICNN(square, modes=2), nine, steps=100, progress=False)
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


def test_climbs_go_with_their_starts_where_some_have_no_log_joint():
    """The summits are -3 and 3; where x < -4 or x > 4 there is no density."""

    def model():
        x = pyro.sample("x", dist.Normal(0.0, 10.0).mask(False))
        pyro.factor("wells", torch.where(x.abs() < 4, -((x.abs() - 3) ** 2), -torch.inf))

    guide = AutoLSEICNN(model, modes=2)
    guide()
    log_joint = guide.log_joint()
    for starts, summits in (
        ([5.0, 2.0, -6.0], [5.0, 3.0, -6.0]),
        ([-2.0, 5.0, 2.0], [-3.0, 5.0, 3.0]),
    ):
        ends = climb(log_joint, torch.tensor(starts).unsqueeze(1)).squeeze(1)
        assert ends.tolist() == pytest.approx(summits, abs=1e-3)


def test_weights_that_are_all_zero_are_no_perfect_fit():
    assert smooth(torch.zeros(100))[1] == -torch.inf
    assert smooth(torch.full((100,), torch.finfo(torch.float64).min))[1] == torch.inf

    def model():
        pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("never", torch.tensor(-torch.inf))

    guide = AutoLSEICNN(model, modes=1)
    guide()
    with pytest.raises(ValueError, match="minus infinity at all 100 draws of the guide"):
        importance(guide.get_posterior(), guide.log_joint(), samples=100)
