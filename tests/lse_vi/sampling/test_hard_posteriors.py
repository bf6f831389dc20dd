"""Posteriors at which earlier versions were wrong without a word, with their right values."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from benchmarks.evidence_targets import mixture, sinusoid
from lse_vi import AutoLSEICNN, fit_guide, sample_smc

QUIET = {"progress": False}
SEEDS = [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2))]
WEIGHTS = torch.tensor([0.4, 0.25, 0.15, 0.1, 0.09, 0.01], dtype=torch.float64)


def six_gaussians(seed):
    """Six Gaussians in 30-D of unequal weights, and of deviations from 0.3 to 3."""
    torch.manual_seed(100 + seed)
    means = 12 * (torch.rand(6, 30) - 0.5)
    scales = 0.3 * 10 ** torch.rand(6, 30)

    def model():
        x = pyro.sample("x", dist.Normal(torch.zeros(30), 5.0).to_event(1).mask(False))
        each = dist.Normal(means, scales).to_event(1).log_prob(x.unsqueeze(-2))
        pyro.factor("f", torch.logsumexp(each + WEIGHTS.log(), -1))

    return model


@pytest.mark.parametrize("seed", SEEDS)
def test_a_light_mode_among_heavy_ones_in_30_dimensions(seed):
    model = six_gaussians(seed)
    guide = AutoLSEICNN(model)
    res = fit_guide(model, guide, seed=seed, **QUIET)
    assert res.warnings == ()
    assert res.log_evidence == pytest.approx(0.0, abs=0.02)
    torch.testing.assert_close(res.mode_weights, WEIGHTS, rtol=0.25, atol=0.01)
    draws = sample_smc(model, guide, seed=seed, **QUIET)
    assert abs(draws.log_evidence) < 4 * draws.log_evidence_error
    torch.testing.assert_close(draws.mode_weights, WEIGHTS, rtol=0.25, atol=0.01)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_priors_of_ten_digits(seed):
    def model():
        x = pyro.sample("x", dist.Normal(torch.tensor(1e10), 1e9))
        low, high = dist.Normal(8e9, 2e7).log_prob(x), dist.Normal(1.2e10, 2e7).log_prob(x)
        pyro.factor("f", torch.logaddexp(low + math.log(0.3), high + math.log(0.7)))

    res = fit_guide(model, AutoLSEICNN(model), seed=seed, **QUIET)
    width = math.hypot(1e9, 2e7)
    log_z = float(dist.Normal(0.0, width).log_prob(torch.tensor(2e9)))  # of both: 2e9 from 1e10
    assert res.log_evidence == pytest.approx(log_z, abs=1e-3)
    assert res.mode_weights.tolist() == pytest.approx([0.7, 0.3], abs=0.02)
    assert res.warnings == ()


def test_eight_schools_in_single_precision():
    torch.set_default_dtype(torch.float32)
    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    errors = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

    def schools(y):
        mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
        spread = pyro.sample("spread", dist.HalfCauchy(5.0))
        with pyro.plate("school", 8):
            effect = mean + spread * pyro.sample("effect", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(effect, errors), obs=y)

    guide = AutoLSEICNN(schools)
    res = fit_guide(schools, guide, y, **QUIET)
    assert res.log_evidence == pytest.approx(-31.311, abs=0.02)  # by quadrature
    assert len(res.mode_weights) == 1
    draws = sample_smc(schools, guide, y, **QUIET)
    assert abs(draws.log_evidence + 31.311) < 4 * draws.log_evidence_error
    assert draws.warnings == ()


def log_p_of_schools(y, sd, mu, log_tau):
    """log p(y, mu, log tau) of eight schools on a grid, the effects integrated out."""
    log_p = dist.Normal(0.0, 5.0).log_prob(mu) + dist.HalfCauchy(5.0).log_prob(log_tau.exp())
    for each, own in zip(y, sd, strict=True):
        log_p = log_p + dist.Normal(mu, (own**2 + (2 * log_tau).exp()).sqrt()).log_prob(each)
    return log_p + log_tau


@pytest.mark.parametrize("seed", SEEDS)
def test_the_neck_of_a_funnel_is_met(seed):
    """Centred eight schools: a tenth of the mass lies at small scales, where no peak is."""
    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], dtype=torch.float64)
    sd = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0], dtype=torch.float64)

    def model():
        mu = pyro.sample("mu", dist.Normal(torch.zeros(()).double(), 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(torch.tensor(5.0).double()))
        with pyro.plate("school", 8):
            theta = pyro.sample("theta", dist.Normal(mu, tau))
            pyro.sample("y", dist.Normal(theta, sd), obs=y)

    mu, log_tau = (
        torch.linspace(-40, 40, 801).double()[:, None],
        torch.linspace(-14, 9, 801).double(),
    )
    p = (log_p_of_schools(y, sd, mu, log_tau) + math.log(0.1 * 23 / 800)).exp()
    draws = sample_smc(model, AutoLSEICNN(model), seed=seed, progress=False)
    assert abs(draws.log_evidence - float(p.sum().log())) < 4 * draws.log_evidence_error
    assert draws.log_evidence_error < 0.03
    below = float(p[:, log_tau < math.log(0.5)].sum() / p.sum())
    assert float((draws.samples["tau"] < 0.5).double().mean()) == pytest.approx(below, abs=0.04)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_six_latents_of_small_scale(dtype, seed):
    """Correlated, of deviations of a thousandth: as good a fit as in units of one."""
    torch.set_default_dtype(dtype)
    torch.manual_seed(seed)
    root = 1e-3 * (torch.eye(6) + 0.3 * torch.randn(6, 6).tril(-1))

    def model():
        x = pyro.sample("x", dist.Normal(torch.zeros(6), 1e-2).to_event(1))
        at = torch.full((6,), 2e-3)
        pyro.sample("y", dist.MultivariateNormal(x, scale_tril=root), obs=at)

    res = fit_guide(model, AutoLSEICNN(model), seed=seed, **QUIET)
    total = root @ root.mT + 1e-4 * torch.eye(6)
    exact = dist.MultivariateNormal(torch.zeros(6), total).log_prob(torch.full((6,), 2e-3))
    assert res.log_evidence == pytest.approx(float(exact), abs=0.01)
    assert res.ess > 0.95
    assert res.warnings == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_every_period_of_a_sinusoid(seed):
    """Tens of peaks, of which three bands of the period hold the mass: weights by quadrature."""
    problem = sinusoid()
    draws = sample_smc(problem.model, AutoLSEICNN(problem.model), seed=seed, **QUIET)
    assert abs(draws.log_evidence - problem.log_evidence) < 4 * draws.log_evidence_error
    assert draws.log_evidence_error < 0.03
    x = torch.cat([value.flatten(0, 1) for value in draws.samples.values()], -1)
    share = torch.bincount(problem.mode_of(x), minlength=3) / len(x)
    torch.testing.assert_close(share.double(), problem.weights, rtol=0.25, atol=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_sixteen_wells_in_eight_dimensions(seed):
    """None is dropped, though each holds a sixteenth of the mass or less."""
    torch.manual_seed(7)
    means = 4.0 * (2 * torch.randint(0, 2, (16, 8)).double() - 1)
    means = means + 0.5 * torch.randn(16, 8).double()
    weights = torch.softmax(0.7 * torch.randn(16).double(), 0)
    problem = mixture("wells", means, torch.full((16, 8), 0.6).double(), weights, 20.0)
    guide = AutoLSEICNN(problem.model)
    res = fit_guide(problem.model, guide, seed=seed, **QUIET)
    assert res.log_evidence == pytest.approx(problem.log_evidence, abs=0.02)
    assert len(res.mode_weights) == len(means.round().unique(dim=0))
    z = guide.get_posterior().sample((20_000,))
    share = torch.bincount(problem.mode_of(z), minlength=16) / 20_000
    torch.testing.assert_close(share.double(), problem.weights, rtol=0.1, atol=0.005)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_regression_with_flat_priors_and_columns_far_from_zero(seed):
    """Earnings on height, in dollars and inches: one ridge, one mode, moments in closed form."""
    torch.manual_seed(seed)
    n = 1000
    height = 66.0 + 4.0 * torch.randn(n).double()
    earn = -85_000 + 1600 * height + 19_000 * torch.randn(n).double()
    design = torch.stack([torch.ones_like(height), height], -1)

    def model():
        flat = dist.constraints.real
        beta = pyro.sample("beta", dist.ImproperUniform(flat, (), (2,)))
        sigma = pyro.sample("sigma", dist.ImproperUniform(dist.constraints.positive, (), ()))
        with pyro.plate("person", n):
            pyro.sample("earn", dist.Normal(design @ beta, sigma), obs=earn)

    best = torch.linalg.lstsq(design, earn.unsqueeze(1)).solution.squeeze(1)
    rest = (earn - design @ best).square().sum()
    # p(beta) is Student's t with n - 3 degrees, as sigma has a flat prior.
    covariance = rest / (n - 5) * torch.linalg.inv(design.mT @ design)
    guide = AutoLSEICNN(model)
    res = fit_guide(model, guide, seed=seed, **QUIET)
    assert len(res.mode_weights) == 1
    assert res.warnings == ()
    draws = sample_smc(model, guide, seed=seed, **QUIET)
    for beta in (guide.values(guide.get_posterior().sample((4000,)))["beta"],
                 draws.samples["beta"].flatten(0, 1)):  # fmt: skip
        off = (beta.mean(0) - best) / covariance.diagonal().sqrt()
        assert float(off.abs().max()) < 0.1
        ratio = beta.std(0) / covariance.diagonal().sqrt()
        assert ratio.tolist() == pytest.approx([1.0, 1.0], abs=0.1)


@pytest.mark.slow
def test_ranks_of_simulated_truths_are_uniform():
    """Simulation-based calibration (Talts et al. 2018), of a posterior with two modes."""
    prior = dist.MixtureSameFamily(
        dist.Categorical(torch.tensor([0.4, 0.6])),
        dist.Normal(torch.tensor([-2.0, 2.0]), torch.tensor([0.4, 0.8])),
    )

    def model(y):
        x = pyro.sample("x", prior)
        pyro.sample("y", dist.Normal(x, 2.0), obs=y)

    torch.manual_seed(0)
    truths = prior.sample((200,))
    data = truths + 2.0 * torch.randn(200)
    ranks = torch.zeros(200, dtype=torch.long)
    guide = AutoLSEICNN(model)
    for k in range(200):
        guide.find_modes(data[k])
        draws = sample_smc(model, guide, data[k], draws=400, seed=k, **QUIET).samples["x"].flatten()
        ranks[k] = (draws[torch.randperm(400)[:19]] < truths[k]).sum()
    counts = torch.bincount(ranks // 2, minlength=10).double()  # ten ranks of 20 expected each
    # The 0.1 % point of chi-square with 9 degrees of freedom.
    assert float(((counts - 20).square() / 20).sum()) < 27.9
