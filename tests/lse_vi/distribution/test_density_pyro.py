"""The density inside Pyro: as a likelihood, as a prior under NUTS, as a guide, in plates."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.ops.stats import effective_sample_size
from scipy.stats import ks_2samp

from lse_vi import ICNN, LSEICNN, LaplaceMixture, LSEDensity, WhitenedICNN

BOX = (-3.0, 2.0)
LEVEL = 1e-4  # of tests on samples from fixed seeds


def fit(model, guide, steps, *, rate=0.02, elbo=None):
    svi = SVI(model, guide, pyro.optim.Adam({"lr": rate}), elbo or Trace_ELBO())
    return [svi.step() for _ in range(steps)]


# -- as a likelihood ------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "bounds"), [(ICNN, (-6.0, 6.0)), (WhitenedICNN, None)])
def test_maximum_likelihood_in_a_plate(network, bounds):
    """Two Gaussians of 2:1, learned by SVI through `pyro.module`: 0.02 nats from the truth."""
    truth = dist.MixtureSameFamily(
        dist.Categorical(torch.tensor([2.0, 1.0])),
        dist.Normal(torch.tensor([-2.0, 2.0]), torch.tensor([0.5, 0.8])),
    )
    data, fresh = truth.sample((1000, 1)), truth.sample((4000, 1))
    pot = LSEICNN(1, 2, rho=1.0, network=network)
    pot.network.reset_parameters(torch.tensor([[-2.0], [2.0]]))

    def model():
        pyro.module("potential", pot)
        with pyro.plate("data", len(data)):
            pyro.sample("x", LSEDensity(pot, bounds), obs=data)

    losses = fit(model, lambda: None, 120, rate=0.05)
    assert losses[-1] < losses[0]
    q = LSEDensity(pot, bounds)
    with torch.no_grad():
        loss = (truth.log_prob(fresh.squeeze(-1)) - q.log_prob(fresh)).mean()
    assert loss < 0.02


def test_a_latent_shift_is_found(random_potential):
    """x - mu ~ q with mu unknown: AutoNormal's posterior is the exact one, found on a grid."""
    q = LSEDensity(random_potential(0, 1, network=WhitenedICNN, rho=1.0).requires_grad_(False))
    data = q.sample((300,)) + 1.7

    def model():
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        shift = dist.transforms.AffineTransform(mu, 1.0, event_dim=1)
        with pyro.plate("data", len(data)):
            pyro.sample("x", dist.TransformedDistribution(q, shift), obs=data)

    guide = AutoNormal(model)
    fit(model, guide, 300, rate=0.05, elbo=Trace_ELBO(num_particles=2))
    grid = torch.linspace(1.0, 2.4, 1401)
    log_p = q.log_prob(data - grid[:, None, None]).sum(-1) + dist.Normal(0.0, 5.0).log_prob(grid)
    p = torch.softmax(log_p, 0)
    mean = (p * grid).sum()
    deviation = (p * (grid - mean) ** 2).sum().sqrt()
    assert (guide.median()["mu"] - mean).abs() < 0.5 * deviation
    assert 0.5 < guide.quantiles([0.16, 0.84])["mu"].diff() / (2 * deviation) < 1.5


def test_potentials_of_a_batch_in_nested_plates(random_potential):
    """A batch of densities beside a plate of data: log_prob sums over both."""
    pot = random_potential(0, 2, batch_shape=(3,))
    q = LSEDensity(pot, BOX)
    data = q.sample((5,))

    def model():
        with pyro.plate("times", 3, dim=-1), pyro.plate("data", 5, dim=-2):
            pyro.sample("x", LSEDensity(pot, BOX), obs=data)

    trace = pyro.poutine.trace(model).get_trace()
    trace.compute_log_prob()
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], q.log_prob(data))


# -- drawn from -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize(("network", "bounds"), [(ICNN, BOX), (WhitenedICNN, None)])
def test_predictive(random_potential, network, bounds, parallel):
    """Independent draws of the law, in the plate and across the samples."""
    q = LSEDensity(random_potential(0, 2, network=network, rho=1.0), bounds)

    def model():
        with pyro.plate("data", 4):
            return pyro.sample("x", q)

    x = Predictive(model, num_samples=120, parallel=parallel)()["x"]
    assert x.shape == (120, 4, 2)
    exact = q.sample((5000,))
    for i in range(4):
        for j in range(2):
            assert ks_2samp(x[:, i, j], exact[:, j]).pvalue > LEVEL
    correlation = np.corrcoef(x[..., 0].T)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 4.5 / math.sqrt(120)


def test_predictive_runs_a_guide(random_potential):
    q = LSEDensity(random_potential(0, 1, network=WhitenedICNN))

    def model():
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
        return pyro.sample("y", dist.Normal(z, 1e-3).to_event(1))

    def guide():
        pyro.sample("z", q)

    draws = Predictive(model, guide=guide, num_samples=500, parallel=True)()
    assert ks_2samp(draws["y"].flatten(), q.sample((5000,)).flatten()).pvalue > LEVEL


# -- as a guide -----------------------------------------------------------------------------------


def target(z):
    """Two wells, unnormalised."""
    return torch.logaddexp(-2.0 * (z - 1).square(), -((z + 1.5).square())).squeeze(-1)


def model_of_target(dim=1):
    z = pyro.sample("z", dist.Normal(0.0, 3.0).expand([dim]).to_event(1))
    pyro.factor("rest", target(z) - dist.Normal(0.0, 3.0).log_prob(z).squeeze(-1))


@pytest.mark.parametrize(
    ("network", "bounds", "vectorize"),
    [(ICNN, (-5.0, 5.0), True), (ICNN, (-5.0, 5.0), False), (WhitenedICNN, None, True)],
)
def test_score_function_gradient_of_the_elbo(
    random_potential, simpson_grid, network, bounds, vectorize
):
    """Trace_ELBO's gradient is that of the ELBO, integrated on a grid, and so is its value.

    Averages over blocks of particles, compared in units of their own standard errors: the largest
    of some 200 normal deviates is below 5.
    """
    pot = random_potential(0, 1, network=network, rho=1.3)
    parameters = list(pot.parameters())

    def guide():
        pyro.module("potential", pot)
        pyro.sample("z", LSEDensity(pot, bounds))

    blocks, particles = (100, 50) if vectorize else (80, 4)
    elbo = Trace_ELBO(num_particles=particles, vectorize_particles=vectorize)
    losses, gradients = [], []
    for _ in range(blocks):
        pot.zero_grad()
        losses.append(elbo.loss_and_grads(model_of_target, guide))
        gradients.append(torch.cat([p.grad.flatten() for p in parameters]))
    losses, gradients = torch.tensor(losses), torch.stack(gradients)

    points, weights = simpson_grid(*(bounds or (-15.0, 15.0)), 6000)
    log_q = LSEDensity(pot, bounds).log_prob(points)
    loss = (weights * log_q.exp() * (log_q - target(points))).sum()
    parts = torch.autograd.grad(loss, parameters)
    exact = torch.cat([p.flatten() for p in parts])

    error = gradients.mean(0) - exact
    deviation = gradients.std(0) / math.sqrt(blocks)
    moving = deviation > 1e-12
    assert moving.sum() > 90
    assert (error[~moving].abs() < 1e-9).all()
    assert (error[moving] / deviation[moving]).abs().max() < 5.0
    assert (losses.mean() - loss).abs() < 4.5 * losses.std() / math.sqrt(blocks)


def test_vectorized_particles_in_a_plate(random_potential):
    """The same loss, one by one or in one batch, for a guide with a plate of its own."""
    q = LSEDensity(random_potential(0, 1, network=WhitenedICNN, rho=1.0))

    def model():
        with pyro.plate("items", 3):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            pyro.sample("y", dist.Normal(z, 1.0).to_event(1), obs=torch.zeros(3, 1))

    def guide():
        with pyro.plate("items", 3):
            pyro.sample("z", q)

    def losses(vectorize):
        elbo = Trace_ELBO(num_particles=20, vectorize_particles=vectorize)
        return torch.tensor([elbo.loss(model, guide) for _ in range(12)])

    one, many = losses(False), losses(True)
    gap = one.mean() - many.mean()
    assert gap.abs() < 4.5 * ((one.var() + many.var()) / 12).sqrt()


# -- under NUTS -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "bounds", "dim"),
    [pytest.param(ICNN, BOX, 1, marks=pytest.mark.slow), (WhitenedICNN, None, 2)],
)
def test_nuts_agrees_with_exact_samples(random_potential, network, bounds, dim):
    """First and second moments, within 4.5 standard errors at the effective sample size."""
    pot = random_potential(1, dim, network=network, rho=1.0, spread=0.3).requires_grad_(False)
    if bounds is None:
        pot.network.loc.mul_(0.5)  # modes that overlap, so that one chain visits them all
    # log Z does not move the chain: a coarse rule will do.
    q = LSEDensity(pot, bounds, method=LaplaceMixture(100) if bounds is None else None)
    kernel = NUTS(lambda: pyro.sample("x", q), target_accept_prob=0.9)
    mcmc = MCMC(kernel, num_samples=400, warmup_steps=200, disable_progbar=True)
    mcmc.run()
    x, exact = mcmc.get_samples()["x"], q.sample((200_000,))
    assert x.shape == (400, dim)
    assert q.support.check(x).all()
    for power in (1, 2):
        chain = x**power
        ess = effective_sample_size(chain.unsqueeze(0))
        assert (ess > 50).all()
        error = chain.std(0) / ess.sqrt()
        assert ((chain.mean(0) - (exact**power).mean(0)).abs() < 4.5 * error).all()
