"""What the result of a fit warns of."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import lse_vi.guides.fit
from lse_vi import AutoLSEICNN, fit_guide, sample_smc


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


PLACES = torch.tensor([-4.0, 0.0, 5.0])


@pytest.fixture(scope="module")
def mixture():
    """Three components without an order, of 40 data each: six labellings."""
    torch.manual_seed(0)
    y = torch.cat([place + torch.randn(40) for place in PLACES])

    def model():
        mean = pyro.sample("mean", dist.Normal(torch.zeros(3), 5.0).to_event(1))
        share = pyro.sample("share", dist.Dirichlet(torch.ones(3)))
        each = dist.Normal(mean, 1.0).log_prob(y.unsqueeze(-1)) + share.log()
        pyro.factor("y", each.logsumexp(-1).sum())

    guide = AutoLSEICNN(model)
    res = fit_guide(model, guide, steps=1, progress=False)
    return res, sample_smc(model, guide, draws=1200, progress=False)


class TestRelabelling:
    def test_all_draws_in_the_order_of_the_heaviest_mode(self, mixture):
        res, draws = mixture
        assert len(draws.mode_weights) == 6
        assert float(draws.samples["mean"].mean((0, 1)).std()) < 1.0  # of all labellings
        moved = res.relabel(draws.samples, sites=["mean", "share"])
        assert moved["mean"].shape == draws.samples["mean"].shape
        order = res.mode_locations["mean"][0].argsort()
        mean = moved["mean"].flatten(0, 1)[:, order]
        assert float(((mean - PLACES).abs() < 1.5).double().mean()) == 1.0
        # Each draw's components keep their shares: the same pairs as before, in another order.
        one, two = (
            torch.stack([x["mean"], x["share"]], -1).take_along_dim(
                x["mean"].argsort(-1).unsqueeze(-1), 2
            )
            for x in (draws.samples, moved)
        )
        torch.testing.assert_close(one, two)

    def test_one_draw_alone(self, mixture):
        res, draws = mixture
        one = {name: value[0, 0] for name, value in draws.samples.items()}
        whole = res.relabel(draws.samples, sites=["mean", "share"])
        torch.testing.assert_close(
            res.relabel(one, sites=["mean", "share"])["mean"], whole["mean"][0, 0]
        )

    def test_what_has_no_components_is_said(self, mixture):
        res, draws = mixture
        with pytest.raises(ValueError, match=r"among \['mean', 'share'\], but got 'labels'"):
            res.relabel(draws.samples, sites=["labels"])
        with pytest.raises(ValueError, match="sites must name one site or more"):
            res.relabel(draws.samples, sites=[])
