"""The coordinates of the Bayesian density mean what they say."""

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

import models.schlogl_density
from lse_vi import LSEDensity
from models.schlogl_density import BayesianBoxDensity, FixedRule
from models.schlogl_guides import GUIDES, Point


@pytest.fixture
def bayes():
    x = torch.randn(50, 3, 1)
    return BayesianBoxDensity(x, modes=2, bounds=(-6.0, 6.0), hidden=(3,))


def coordinates(bayes, batch):
    """Separated modes of mass 0.3 and 0.7 at rho = 0.1; shapes drawn within half a prior sd.

    (The tails of the prior hold networks too sharp for the fixed nodes: 2% of its draws.)
    """
    theta = bayes.prior_mean + 0.5 * bayes.prior_sd * torch.randn(batch, len(bayes.prior_mean))
    sizes = [shape.numel() for shape in bayes.shapes.values()]
    parts = dict(zip(bayes.shapes, theta.split(sizes, -1), strict=True))
    parts["log_rho"] = torch.full((batch, 1), 0.1).log()
    parts["alpha"] = torch.tensor([0.3, 0.7]).log().expand(batch, 2)
    parts["network.loc"] = torch.tensor([-2.0, 2.0]).expand(batch, 2)
    parts["network.log_diagonal"] = -torch.tensor([0.4, 0.6]).log().expand(batch, 2)
    return torch.cat([parts[name] for name in bayes.shapes], dim=-1)


def test_mass_mean_and_width_are_what_the_coordinates_say(bayes, monkeypatch):
    theta = coordinates(bayes, 40)
    q = bayes.density(theta)
    # A few damped steps come within a third of the noise of 200 points (0.032); many, to the point.
    torch.testing.assert_close(q.mode_weights[:, 0], torch.full((40,), 0.3), atol=0.01, rtol=0)
    monkeypatch.setattr(models.schlogl_density, "MATCHING_STEPS", 100)
    q = bayes.density(theta)
    torch.testing.assert_close(q.mode_weights[:, 0], torch.full((40,), 0.3), atol=1e-6, rtol=0)
    # each mode alone: exp(-f_k) has the mean, standard deviation and (up to a factor) mass asked
    f = q.potential.mode_potentials(q.rule.points)
    p = torch.softmax(q.rule.log_weights.unsqueeze(-1) - f, dim=0)
    mean = (p * q.rule.points).sum(0)
    sd = (p * (q.rule.points - mean) ** 2).sum(0).sqrt()
    torch.testing.assert_close(mean, torch.tensor([-2.0, 2.0]).expand(40, 2), atol=2e-3, rtol=0)
    torch.testing.assert_close(sd, torch.tensor([0.4, 0.6]).expand(40, 2), atol=2e-3, rtol=0)


def test_fixed_rule_integrates_like_the_adaptive_one(bayes):
    q = bayes.density(coordinates(bayes, 5))
    adaptive = LSEDensity(q.potential, bayes.bounds)
    torch.testing.assert_close(q.log_normalizer, adaptive.log_normalizer, atol=1e-5, rtol=0)
    assert isinstance(q.method, FixedRule)


def test_start_reads_masses_means_and_widths_off_the_responsibilities(bayes):
    x = bayes.x
    r = torch.stack([(x < 0).squeeze(-1), (x >= 0).squeeze(-1)], dim=-1).to(x)
    theta = bayes.start(r)
    assert theta.shape == (3, len(bayes.prior_mean))
    weights = bayes.density(theta).mode_weights
    torch.testing.assert_close(weights, (r.sum(0) + 1) / 52, atol=1e-2, rtol=0)


def test_laplace_root_is_the_posterior_where_the_likelihood_is_flat():
    far = BayesianBoxDensity(torch.zeros(1, 2, 1), modes=1, bounds=(-6.0, 6.0), hidden=(2,))
    theta = far.prior_mean.expand(2, -1)
    root = far.laplace_root(theta)
    variance = root.square().sum(-1)
    # no direction is wider than the prior, by construction
    assert (variance <= far.prior_sd**2 * (1 + 1e-9)).all()


@pytest.mark.parametrize("name", ["point", *GUIDES])
def test_guides_descend_and_particles_vectorise(bayes, name):
    torch.manual_seed(1)
    start = bayes.start(torch.full((50, 3, 2), 0.5))
    guide = Point(start) if name == "point" else GUIDES[name](start, bayes.laplace_root(start))
    pyro.clear_param_store()
    elbo = Trace_ELBO(num_particles=8, vectorize_particles=True, max_plate_nesting=2)
    if name == "laplace":  # nothing to train
        assert not list(guide.parameters())
        assert torch.isfinite(torch.tensor(elbo.loss(bayes.model, guide)))
        return
    svi = SVI(bayes.model, guide, pyro.optim.Adam({"lr": 0.01}), elbo)
    losses = [svi.step() for _ in range(60)]
    assert sum(losses[-10:]) < sum(losses[:10])


def test_vectorised_elbo_is_the_mean_of_single_ones(bayes):
    """A plate over particles must not mix them: same draws, same ELBO."""
    theta = coordinates(bayes, 4 * 3).reshape(4, 1, 3, -1)
    together = bayes.density(theta).log_prob(bayes.x)
    for i in range(4):
        alone = bayes.density(theta[i, 0]).log_prob(bayes.x)
        torch.testing.assert_close(together[i], alone)
