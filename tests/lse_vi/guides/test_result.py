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
        assert "the search found 2 peaks, but the guide has room for 1" in text
        assert "lacks x -2.991 with about 2" in text
        assert "Make it with modes=2 or more" in text
        assert float(res.missed.share) == pytest.approx(0.25, abs=0.03)

    def test_mass_that_has_no_peak_the_search_has_met(self, monkeypatch, square, nine):
        """The guide's own draws are content; those from around it are not."""
        find = lse_vi.guides.fit.find_peaks

        def half_blind(log_joint, prior):
            search = find(log_joint, prior)
            return search._replace(peaks=search.peaks.select(search.peaks.x[:, 0] > 0))

        monkeypatch.setattr(lse_vi.guides.fit, "find_peaks", half_blind)
        res = fit_guide(square, AutoLSEICNN(square, modes=1), nine, steps=100, progress=False)
        assert res.ess > 0.9
        assert "of the mass lies outside the guide" in res.warnings[0]
        assert "more than modes=1" in res.warnings[0]

    def test_a_funnel(self):
        def funnel():
            scale = pyro.sample("scale", dist.LogNormal(0.0, 2.0))
            with pyro.plate("group", 6):
                pyro.sample("effect", dist.Normal(0.0, scale))

        res = fit_guide(funnel, AutoLSEICNN(funnel, modes=2), steps=150, progress=False)
        assert res.k_hat > 0.7 or res.ess < 0.05
        assert any("Reparametrise the model" in text for text in res.warnings)


def test_heavy_tails_are_told_from_a_bad_fit():
    """k-hat alone says neither: where nearly all draws count, means and the evidence hold."""

    def model():
        pyro.sample("x", dist.StudentT(3.0, 0.0, 1.0))

    one = fit_guide(model, AutoLSEICNN(model, modes=1, hidden=()), progress=False)
    assert one.k_hat > 0.7
    assert "importance-resampled draws cannot be trusted" in " ".join(one.warnings)
    many = fit_guide(model, AutoLSEICNN(model, hidden=()), progress=False)
    assert many.ess > 0.95
    assert many.log_evidence == pytest.approx(0.0, abs=0.01)
    assert many.warnings == ()
