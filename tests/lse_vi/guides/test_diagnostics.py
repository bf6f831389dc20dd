"""Importance weights judge a guide, and what a model may have amiss is said."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import AutoLSEICNN, fit_guide, sample_smc
from lse_vi.guides.diagnostics import importance


def test_weights_that_are_all_zero_are_no_perfect_fit():
    def model():
        pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("never", torch.tensor(-torch.inf))

    guide = AutoLSEICNN(model, modes=1)
    guide()
    with pytest.raises(ValueError, match="minus infinity at all 100 draws of the guide"):
        importance(guide.get_posterior(), guide.log_joint(), samples=100)


def correlated(y):
    """The covariance of ``y`` (n, dim) has a Cholesky factor for some correlations only."""
    rows, columns = torch.tril_indices(y.shape[1], y.shape[1], -1)

    def model():
        a = pyro.sample("a", dist.Normal(torch.zeros(len(rows)), 1.0).to_event(1))
        below = torch.zeros(y.shape[1], y.shape[1]).index_put((rows, columns), a)
        covariance = torch.eye(y.shape[1]) + below + below.mT
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.MultivariateNormal(torch.zeros(y.shape[1]), covariance), obs=y)

    return model


def both(model, **options):
    """The warnings of a fit and of draws after it."""
    guide = AutoLSEICNN(model, **options)
    res = fit_guide(model, guide, steps=20, progress=False)
    return res.warnings, sample_smc(model, guide, draws=400, progress=False).warnings


class TestFactorsThatFail:
    def test_at_many_draws_are_said_with_their_share(self):
        y = torch.tensor([[0.7, 0.3, 0.1], [0.6, 2.3, -0.7], [-0.9, -0.1, -1.4], [0.4, -0.5, 0.6]])
        for warnings in both(correlated(y), modes=1, hidden=()):
            (text,) = [text for text in warnings if "Cholesky" in text]
            assert 2 < float(text.split(" %")[0]) < 60

    def test_at_few_draws_are_not(self):
        """There the density falls to zero long before the edge."""
        for warnings in both(correlated(torch.tensor([[10.0, 0.0]]))):
            assert not any("Cholesky" in text for text in warnings)


class TestTurns:
    @staticmethod
    def phase(low, prior=None, at=math.pi, sharp=20.0):
        def model():
            law = dist.Uniform(low, low + 2 * math.pi) if prior is None else prior()
            with pyro.plate("places", 2):
                a = pyro.sample("a", law)
                seen = torch.tensor([low + 1.0, at])
                pyro.sample("y", dist.VonMises(a, torch.tensor([20.0, sharp])), obs=seen)

        return model

    @pytest.mark.parametrize("low", [-math.pi, 0.0])
    def test_a_mode_at_the_seam_is_said(self, low):
        for warnings in both(self.phase(low, at=low)):
            (text,) = [text for text in warnings if "anywhere in a turn" in text]
            assert "site 'a'" in text
            assert "VonMises(0, 1e-3)" in text
            assert 50 < float(text.split(" %")[0].split()[-1]) <= 100

    @pytest.mark.parametrize(
        ("model", "why"),
        [
            (phase(-math.pi, at=0.0), "a mode elsewhere"),
            (phase(-math.pi, at=-math.pi + 1.0), "a mode near one end"),
            (phase(-math.pi, sharp=1e-3), "hardly any mode"),
            (phase(-math.pi, prior=lambda: dist.VonMises(0.0, 1e-3)), "no seam"),
            (phase(-math.pi, prior=lambda: dist.Uniform(-math.pi, 3.0)), "no turn"),
        ],
        ids=lambda case: case if isinstance(case, str) else "",
    )
    def test_nothing_else_is(self, model, why):
        for warnings in both(model):
            assert not any("anywhere in a turn" in text for text in warnings), why
