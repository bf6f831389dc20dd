"""What the result of a fit warns of."""

import pyro
import pyro.distributions as dist
import pytest

import lse_vi.guides.fit
from lse_vi import AutoLSEICNN, fit_guide


class TestWarnings:
    def test_a_mode_that_the_guide_has_no_room_for(self, square, nine):
        res = fit_guide(square, AutoLSEICNN(square, modes=1), nine, steps=60, progress=False)
        text = str(res)
        assert "WARNING: the search found 2 peaks, but the guide has room for 1" in text
        assert "WARNING: a fresh search found 1 peak(s) outside the guide: x -2.991" in text
        assert float(res.missed.share) == pytest.approx(0.25, abs=0.03)

    def test_a_mode_that_the_search_did_not_meet(self, monkeypatch, square, nine):
        """The ESS is content; the search after the fit is not."""
        find = lse_vi.guides.fit.find_peaks

        def half_blind(log_joint, prior):
            search = find(log_joint, prior)
            return search._replace(peaks=search.peaks.select(search.peaks.x[:, 0] > 0))

        monkeypatch.setattr(lse_vi.guides.fit, "find_peaks", half_blind)
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
