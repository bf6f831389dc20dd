"""Posteriors of densities on an interval: exact evidences, walls, units, and what is refused."""

import math

import numpy as np
import pyro.poutine as poutine
import pytest
import torch
from scipy import stats

from lse_vi import (
    BayesianDensity,
    LSEDensity,
    Prior,
    count_modes,
    density_to_arviz,
    fit_posterior,
    sample_posterior,
)

QUICK = {"draws": 500, "progress": False}


def waiting_times(n, rate=0.2):
    return torch.distributions.Exponential(torch.tensor(rate)).sample((n,))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("bounds", [(0.0, None), (0.0, 2.0)])
def test_the_evidence_of_a_truncated_normal_is_that_of_scipy_on_a_grid(bounds, seed):
    """One Gaussian mode has two coordinates that matter: the sums over a grid are exact."""
    torch.manual_seed(seed)
    x = torch.randn(400)
    x = x[(x > 0) & (x < (bounds[1] or math.inf))][:60]
    units = (0.5, 1.0)
    post = fit_posterior(
        x, modes=1, bounds=bounds, hidden=(), units=units, seed=seed, draws=1000, progress=False
    )
    place, log_scale = (getattr(Prior(), name) for name in ("mean", "log_scale"))
    m, s = np.meshgrid(
        *(np.linspace(c - 6 * d, c + 6 * d, 301) for c, d in (place, log_scale)), indexing="ij"
    )
    loc, width = units[0] + units[1] * m, units[1] * np.exp(-s)
    ends = [(side if side is not None else math.inf) for side in bounds]
    cut = (np.array(ends)[:, None, None] - loc) / width
    log_joint = stats.norm.logpdf(m, *place) + stats.norm.logpdf(s, *log_scale)
    at = float(x[0])  # the log mass inside, of which truncnorm takes care far out too
    inside = stats.norm.logpdf(at, loc, width) - stats.truncnorm.logpdf(at, *cut, loc, width)
    for value in x.numpy():
        log_joint += stats.norm.logpdf(value, loc, width) - inside
    cell = (12 / 300) ** 2 * place[1] * log_scale[1]
    exact = np.logaddexp.reduce(log_joint, axis=None) + math.log(cell)
    evidence = post.evidence
    assert evidence.error < 0.3
    assert abs(evidence.log_evidence - exact) < 4 * evidence.error
    share = np.exp(log_joint - exact) * cell
    wall = (share * stats.truncnorm.pdf(0.0, *cut, loc, width)).sum()
    drawn = post.density(torch.zeros(1)).squeeze(1)
    # moves leave the draws of copies alike: an effective number of at least 200
    assert abs(float(drawn.mean()) - wall) < 4 * float(drawn.std()) / 200**0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_waiting_times_have_one_mode_and_the_right_height_at_zero(seed):
    torch.manual_seed(seed)
    x = waiting_times(300)
    count = count_modes(x, modes=2, bounds=(0, None), seed=seed, **QUICK)
    assert count.most_probable == 1
    height = count.density(torch.zeros(1)).squeeze(1)
    assert float(height.quantile(0.005)) < 1 / float(x.mean()) < float(height.quantile(0.995))
    assert float((count.best.peaks.location[:, 0] == 0).double().mean()) > 0.5  # on the wall


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_uniform_on_its_interval_is_one_mode_and_two_cut_groups_are_two(seed):
    """Without the bounds the first is seen as two to four."""
    torch.manual_seed(seed)
    flat = count_modes(2 + 7 * torch.rand(300), modes=3, bounds=(2, 9), seed=seed, **QUICK)
    assert flat.most_probable == 1
    groups = torch.cat([torch.randn(200), torch.randn(200) + 5])
    both = count_modes(groups[groups > 0], modes=3, bounds=(0, None), seed=seed, **QUICK)
    assert both.most_probable == 2
    assert both.probabilities[2] > 0.8


def test_units_of_the_data_and_their_bounds_change_nothing():
    x = waiting_times(60)
    a = fit_posterior(x, modes=1, bounds=(0, 80), **QUICK)
    b = fit_posterior(1024 * x + 5, modes=1, bounds=(5, 1024 * 80 + 5), **QUICK)
    lost = 60 * math.log(1024)
    assert b.evidence.log_evidence + lost == pytest.approx(a.evidence.log_evidence, abs=1e-3)
    at = torch.linspace(0, 80, 9)
    gap = 1024 * b.density(1024 * at + 5).mean(0) - a.density(at).mean(0)
    assert float(gap.abs().max()) < 1e-3 * float(a.density(at).mean(0).max())


def test_bounds_far_from_the_data_change_nothing(two_groups):
    x = two_groups(60)
    free, far = (
        fit_posterior(x, modes=2, bounds=bounds, draws=100, progress=False)
        for bounds in (None, (-1e4, None))
    )
    assert far.evidence.log_evidence == pytest.approx(free.evidence.log_evidence, abs=1e-6)
    torch.testing.assert_close(far.theta, free.theta)
    torch.testing.assert_close(far.peaks.location, free.peaks.location, equal_nan=True)


def test_pyro_log_joint_is_ours_and_the_density_is_that_of_the_model(two_groups):
    x = two_groups(40)
    bounds = (float(x.min()) - 0.1, 20.0)
    model = BayesianDensity(x, modes=2, bounds=bounds)
    trace = poutine.trace(model).get_trace()
    theta = model.theta(trace.nodes["z"]["value"])
    torch.testing.assert_close(
        trace.log_prob_sum(), model.log_joint(theta) + model.root.diagonal().log().sum()
    )
    q = model.density(model.prior_sample(5))
    assert isinstance(q, LSEDensity)
    torch.testing.assert_close(q.log_normalizer, torch.zeros(5), atol=1e-5, rtol=0)
    drawn = model.sample(model.prior_sample(5), 100)
    assert float(drawn.min()) >= bounds[0]
    assert float(drawn.max()) <= bounds[1]


@pytest.fixture(scope="module")
def waiting():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(5)
    return fit_posterior(waiting_times(50), modes=2, bounds=(0, None), draws=50, progress=False)


def test_what_a_posterior_says_stays_inside(waiting):
    at = torch.tensor([-1.0, -1e-9, 0.0, 1.0])
    assert (waiting.density(at)[:, :2] == 0).all()
    assert (waiting.density(at)[:, 2:] > 0).all()
    ends = waiting.cdf(torch.tensor([-1.0, 0.0, float(waiting.model.x.max()) * 3]))
    assert (ends[:, :2] == 0).all()
    torch.testing.assert_close(ends[:, 2], torch.ones(50), atol=0.02, rtol=0)
    fine = torch.linspace(0, 300, 60_001)
    torch.testing.assert_close(
        torch.trapezoid(waiting.density(fine), fine), torch.ones(50), atol=1e-3, rtol=0
    )
    assert (waiting.predictive(20) >= 0).all()
    idata = density_to_arviz(waiting)
    assert float(idata["posterior_predictive"]["x"].min()) >= 0
    chain = sample_posterior(waiting, chains=1, draws=5, warmup=5, progress=False)
    assert chain.model.box is waiting.model.box


def test_many_points_in_cells_and_counts_have_bounds_too():
    x = waiting_times(20_000)
    cells = BayesianDensity(x, modes=1, bounds=(0, None)).gathered()
    assert len(cells.x) < 2000
    assert float(cells.x.min()) >= 0
    counts = torch.arange(1, 21)
    x = waiting_times(20)
    one = BayesianDensity(x, modes=2, weights=counts, bounds=(0, None))
    many = BayesianDensity(x.repeat_interleave(counts), modes=2, bounds=(0, None))
    theta = many.prior_sample(7)
    torch.testing.assert_close(one.log_joint(theta), many.log_joint(theta), rtol=1e-10, atol=1e-8)


def test_bad_bounds_are_named(tmp_path):
    x = waiting_times(30)
    for bounds, hint in {
        (1e9, None): "30 of the 30 points lie outside.*wider bounds",
        (9, 0): "low < high",
        (None, None): "bounds=None is all of R",
        (0,): "must be a pair",
        (math.nan, 9): "must be numbers, or None for an open side",
    }.items():
        with pytest.raises(ValueError, match=f"bounds.*{hint}"):
            count_modes(x, modes=1, bounds=bounds)
    file = tmp_path / "fit.pt"
    fit_posterior(x, modes=1, bounds=(0, None), draws=20, progress=False, checkpoint=file)
    with pytest.raises(ValueError, match="checkpoint"):
        fit_posterior(x, modes=1, draws=20, progress=False, checkpoint=file)
