"""Leave-one-out scores against exact ones and ArviZ's, and the weights of a stack."""

import math
import warnings

import arviz as az
import pytest
import torch
import xarray as xr
from torch.distributions import Normal

from lse_vi.arviz_export.gather import assemble
from lse_vi.numerics.leave_one_out import leave_one_out, stack, standard_error


def _likelihoods(chains=2, draws=1000, n=20):
    """y_i ~ N(mu, 1), mu ~ N(0, 1): draws of mu from the posterior, and the data."""
    y = torch.randn(n)
    mu = y.sum() / (n + 1) + torch.randn(chains, draws) / (n + 1) ** 0.5
    return Normal(mu.unsqueeze(-1), 1.0).log_prob(y), y


def test_scores_are_the_exact_predictive_densities():
    likelihood, y = _likelihoods(draws=4000)
    n = len(y)
    exact = Normal((y.sum() - y) / n, (1 + 1 / n) ** 0.5).log_prob(y)
    found = leave_one_out(likelihood)
    # Of 8,000 draws; the weights vary by about a tenth of their mean.
    torch.testing.assert_close(found.each, exact, atol=0.01, rtol=0)
    assert found.elpd == pytest.approx(float(exact.sum()), abs=0.05)
    assert found.se == pytest.approx(standard_error(exact), rel=0.05)
    assert 0.5 < found.p < 1.5  # the model has one parameter
    assert float(found.pareto_k.max()) < found.trusted_k == 0.7


@pytest.mark.parametrize("chains", [1, 3])
def test_arviz_agrees_in_whatever_version_is_installed(chains):
    """Tails differ by a draw or the rounding of r_eff; so k by hundredths, scores hardly.

    ArviZ 0.x divides the variance of the scores by n, not by n - 1.
    """
    likelihood, _ = _likelihoods(chains)
    arrays = {
        "posterior": {"mu": torch.randn(likelihood.shape[:2]).numpy()},
        "log_likelihood": {"y": likelihood.numpy()},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ's own, about Pareto shapes
        theirs = az.loo(assemble(az, arrays, {}, {}, {}), pointwise=True)
    new = isinstance(assemble(az, arrays, {}, {}, {}), xr.DataTree)
    elpd, p = (theirs.elpd, theirs.p) if new else (theirs.elpd_loo, theirs.p_loo)
    n = likelihood.shape[-1]
    se = float(theirs.se) * (1 if new else (n / (n - 1)) ** 0.5)
    ours = leave_one_out(likelihood)
    assert ours.elpd == pytest.approx(float(elpd), abs=1e-3)
    assert ours.se == pytest.approx(se, abs=1e-3)
    assert ours.p == pytest.approx(float(p), abs=1e-3)
    assert ours.pareto_k.numpy() == pytest.approx(theirs.pareto_k.values, abs=0.1)


def test_scores_are_the_same_with_every_arviz():
    """The numbers are those of ``loo`` in ArviZ 0.23.4, on likelihoods without chance."""
    mu = 0.3 * torch.special.ndtri((torch.arange(1000) + 0.5) / 1000)
    y = torch.linspace(-2, 3, 9)
    found = leave_one_out(Normal(mu.unsqueeze(-1), 1.0).log_prob(y).unsqueeze(0))
    assert found.elpd == pytest.approx(-22.809928035049225, abs=1e-9)
    assert found.se == pytest.approx(4.6100172053287505 * (9 / 8) ** 0.5, abs=1e-9)
    assert found.p == pytest.approx(2.3676128818830833, abs=1e-9)
    assert float(found.pareto_k.max()) == pytest.approx(0.3505852392806166, abs=1e-9)


def test_a_likelihood_that_is_the_same_in_every_draw_is_its_own_score():
    found = leave_one_out(torch.full((2, 50, 3), -1.25))
    torch.testing.assert_close(found.each, torch.full((3,), -1.25))
    assert found.p == pytest.approx(0.0, abs=1e-12)
    assert found.se == 0.0


class TestStack:
    def test_the_law_that_drew_the_data_takes_all(self):
        x = torch.randn(4000)
        models = [Normal(0.0, 1.0), Normal(2.0, 1.0), Normal(0.0, 3.0)]
        weights = stack(torch.stack([model.log_prob(x) for model in models]))
        assert float(weights.sum()) == pytest.approx(1.0)
        assert float(weights[0]) > 0.97

    def test_a_mixture_gets_its_own_weights(self):
        x = torch.where(torch.rand(20_000) < 0.3, -3.0, 3.0) + torch.randn(20_000)
        each = torch.stack([Normal(m, 1.0).log_prob(x) for m in (-3.0, 3.0)])
        share = (x < 0).double().mean()  # the laws hardly overlap
        assert float(stack(each)[0]) == pytest.approx(float(share), abs=0.005)

    def test_no_scale_of_the_scores_matters(self):
        each = torch.randn(3, 50)
        shift = 1000 * torch.randn(50)
        torch.testing.assert_close(stack(each), stack(each + shift), atol=1e-5, rtol=0)

    def test_optimality(self):
        """At the best weights, each model's mean share of the mixture is one, or less without."""
        each = torch.randn(4, 100)
        weights = stack(each)
        shares = (each.exp() / (weights @ each.exp())).mean(1)
        assert float(shares.max()) == pytest.approx(1.0, abs=1e-4)
        assert shares[weights > 1e-4].tolist() == pytest.approx(
            [1.0] * int((weights > 1e-4).sum()), abs=1e-4
        )

    def test_one_model(self):
        assert stack(torch.randn(1, 5)).tolist() == [1.0]


def test_a_name_for_few_draws():
    assert leave_one_out(torch.randn(1, 100, 2)).trusted_k == pytest.approx(1 - 1 / math.log10(100))
