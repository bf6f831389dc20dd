"""Groups of points: k-means with no group empty, and mixtures of Gaussians."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from lse_vi.numerics.clusters import clusters, gather, gaussian_mixture, pairs


def groups(rng, n=600):
    """Two thirds around (-5, 0), one third around (5, 1), correlated: (n, 2)."""
    covariance = np.array([[1.0, 0.6], [0.6, 1.0]])
    x = rng.multivariate_normal([0.0, 0.0], covariance, size=n)
    return x + np.where(np.arange(n)[:, None] < 2 * n // 3, [-5.0, 0.0], [5.0, 1.0])


@pytest.mark.parametrize("seed", range(5))
def test_far_groups_are_the_clusters(seed):
    rng = np.random.default_rng(seed)
    centres, label = clusters(groups(rng), 2, rng)
    left = centres[:, 0].argmin()
    assert np.array_equal(label == left, np.arange(600) < 400)


def test_no_cluster_is_empty_even_where_points_coincide():
    """Three clusters of points at two places."""
    rng = np.random.default_rng(0)
    label = clusters(np.repeat([[0.0], [1.0]], 10, axis=0), 3, rng)[1]
    assert set(label) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(5))
def test_a_mixture_has_the_moments_of_its_groups(seed):
    """Ten deviations apart each point belongs to one; 0.001 is added to the variances."""
    rng = np.random.default_rng(seed)
    x = groups(rng)
    _, weight, mean, factor = gaussian_mixture(x, 2, rng)
    order = mean[:, 0].argsort()
    np.testing.assert_allclose(weight[order], [2 / 3, 1 / 3], atol=1e-4)
    for k, own in zip(order, (x[:400], x[400:]), strict=True):
        np.testing.assert_allclose(mean[k], own.mean(0), atol=1e-3)
        white = (own - own.mean(0)) @ factor[k].T
        np.testing.assert_allclose(np.cov(white.T, ddof=0), np.eye(2), atol=5e-3)


def test_the_likelihood_is_that_of_the_mixture():
    """Up to d/2 log 2 pi, and to the step that was still to come."""
    rng = np.random.default_rng(0)
    x = groups(rng)
    told, weight, mean, factor = gaussian_mixture(x, 3, rng)
    each = [
        multivariate_normal(m, np.linalg.inv(f.T @ f)).logpdf(x) + np.log(w)
        for w, m, f in zip(weight, mean, factor, strict=True)
    ]
    assert told == pytest.approx(logsumexp(each, axis=0).mean() + np.log(2 * np.pi), abs=1e-4)


def test_equal_points_make_no_spike():
    """All on one line: the covariance has a least variance across it."""
    rng = np.random.default_rng(0)
    x = np.stack([rng.standard_normal(200), np.zeros(200)], axis=1)
    factor = gaussian_mixture(x, 1, rng)[3]
    assert np.isfinite(factor).all()
    assert 10 < factor[0, 1, 1] < 100  # one over a deviation of 0.03


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_mass_and_mean_are_kept_and_the_error_is_the_curvature_term(dim):
    rng = np.random.default_rng(dim)
    x, w = rng.standard_normal((4000, dim)), rng.integers(1, 5, 4000).astype(float)
    means, worth = gather(x, w, 300)
    assert 300 <= len(worth) <= 600
    assert worth.sum() == pytest.approx(w.sum(), rel=1e-12)
    np.testing.assert_allclose(worth @ means, w @ x, rtol=1e-9, atol=1e-9)
    # Of -|x|^2/2, whose Hessian is -1, the leading term is all: half the variance inside cells.
    inside = (w @ x**2).sum() - (worth @ means**2).sum()
    moved = -0.5 * (worth @ means**2).sum() + 0.5 * (w @ x**2).sum()
    assert moved == pytest.approx(0.5 * inside)
    assert 0 < inside < 0.05 * (w @ x**2).sum()


def test_a_narrow_group_has_cells_of_its_own():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(9000), 5 + 1e-4 * rng.standard_normal(1000)])[:, None]
    means, worth = gather(x, np.ones(10_000), 500)
    near = np.abs(means[:, 0] - 5) < 1e-3
    assert near.sum() > 40
    spread = np.sqrt(worth[near] @ (means[near, 0] - 5) ** 2 / worth[near].sum())
    assert spread == pytest.approx(1e-4, rel=0.1)


def test_equal_points_are_one_cell():
    means, worth = gather(np.zeros((50, 2)), np.ones(50), 10)
    assert means.tolist() == [[0.0, 0.0]]
    assert worth.tolist() == [50.0]


def test_pairs_have_the_first_four_moments_of_their_cells():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=400), rng.uniform(0.5, 2, 400)
    nodes, worth = pairs(x, w, 0.3)
    assert len(nodes) < 60
    assert (worth > 0).all()
    for power in range(4):
        assert worth @ nodes**power == pytest.approx(w @ x**power, rel=1e-12, abs=1e-10)


def test_what_pairs_change_is_within_the_bound_and_falls_with_the_fourth_power():
    x = np.random.default_rng(1).uniform(-2, 2, 5000)
    gaps = []
    for width in (0.4, 0.2):
        nodes, worth = pairs(x, np.ones(5000), width)
        gaps.append(abs((x**4).sum() - worth @ nodes**4))
        assert gaps[-1] <= 5000 * width**4 * 24 / 384
    assert gaps[1] < gaps[0] / 10


def test_pairs_keep_equal_points_and_single_ones():
    nodes, worth = pairs(np.array([3.0, 1.0, 1.0, 1.0]), np.array([2.0, 1.0, 0.5, 1.0]), 0.5)
    assert nodes.tolist() == [1.0, 3.0]
    assert worth.tolist() == [2.5, 2.0]
    assert pairs(np.array([1.0, 2.0]), np.array([0.0, 1.0]), 0.5)[0].tolist() == [2.0]
