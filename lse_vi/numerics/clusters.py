"""Clusters of points: k-means, and Gaussian mixtures by expectation maximisation."""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.special import logsumexp

# Added to the variances of clusters of standardised data (dimensionless; 3 % of its standard
# deviation), so that equal points do not make a spike of no width.
LEAST_VARIANCE = 1e-3
# The largest number of EM steps, and the gain of the mean log-likelihood, in nats per point, below
# which they end: the mixture is only a start, so the last digits do not matter.
EM_STEPS, EM_GAIN = 100, 1e-5
LEAST_MASS = 1e-9  # points added to the mass of a component: an empty one must not divide by zero
ROUNDING = 1e-12  # relative difference of points that are equal but for rounding
ATTEMPTS = 20  # k-means runs before giving up: each draws new centres, and one mostly succeeds
LLOYD_STEPS = 10  # of k-means, as in SciPy
JITTER = 0.03  # noise that separates equal points, in standard deviations: as LEAST_VARIANCE


def gaussian_mixture(
    x: np.ndarray,
    k: int,
    rng: np.random.Generator,
    background: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """A Gaussian mixture by expectation maximisation from k-means, to start a density on.

    Args:
        x: standardised data (n, dim).
        k: number of components.
        rng: generator of the k-means centres.
        background: log density at the points of a fixed part beside the components, (n,), up to the
            constant of theirs, log(2 pi) dim / 2.
        weights: of the points, (n,); None for points without.

    Returns:
        The mean log-likelihood of a point up to a constant, the weights (k,), the means (k, dim),
        and the factors (k, dim, dim): lower triangular L with L^T L the inverse covariance.

    Raises:
        ValueError: if k-means finds no k clusters.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> _, weights, means, factors = gaussian_mixture(rng.standard_normal((50, 2)), 3, rng)
        >>> weights.shape, means.shape, factors.shape
        ((3,), (3, 2), (3, 2, 2))
    """
    dim = x.shape[-1]
    share, beside = np.zeros((len(x), k)), np.full((len(x), 1), -np.inf)
    near = np.full(len(x), True)
    if background is not None:
        beside = background[:, None]
        near = -0.5 * (x**2).sum(-1) > background
    own = None if weights is None else weights[near]
    share[near] = np.eye(k)[clusters(x[near], k, rng, own)[1]]
    worth = np.ones(len(x)) if weights is None else weights
    before = -np.inf
    for _ in range(EM_STEPS):
        share = worth[:, None] * share
        mass = share.sum(0) + LEAST_MASS
        loc = share.T @ x / mass[:, None]
        centred = x - loc[:, None]  # (k, n, dim)
        cov = (centred * share.T[..., None]).swapaxes(1, 2) @ centred / mass[:, None, None]
        factor = np.linalg.inv(np.linalg.cholesky(cov + LEAST_VARIANCE * np.eye(dim)))
        white = centred @ factor.swapaxes(1, 2)
        height = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(-1)
        log_p = np.log(mass / worth.sum()) + height - 0.5 * (white**2).sum(-1).T  # (n, k)
        total = logsumexp(np.hstack([log_p, beside]), axis=1)
        share = np.exp(log_p - total[:, None])
        mean = (worth * total).sum() / worth.sum()
        gain, before = mean - before, mean
        if gain < EM_GAIN:
            break
    return float(before), mass / mass.sum(), loc, factor


def clusters(
    points: np.ndarray, k: int, rng: np.random.Generator, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """k-means centres (k, dim) and labels (n,), with no cluster empty.

    Points that coincide are separated by a small noise. Use it where a fit starts from clusters.
    With ``weights`` (n,), a point of weight 2 counts as two.

    Raises:
        ValueError: if no run of k-means fills all clusters.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> centres, labels = clusters(np.array([[0.0], [0.1], [5.0]]), 2, rng)
        >>> centres.shape, labels.shape
        ((2, 1), (3,))
    """
    exact = len(np.unique(points, axis=0)) >= k
    for attempt in range(ATTEMPTS):
        jitter = 0.0
        if attempt or not exact:
            jitter = JITTER * points.std(0) * rng.standard_normal(points.shape)
        try:
            if weights is not None:
                return _weighted(points + jitter, k, rng, weights)
            return kmeans2(points + jitter, k, minit="++", seed=rng, missing="raise")
        except ClusterError:
            continue
    raise ValueError(f"modes: {k} clusters could not be found in {len(points)} points")


def _weighted(
    points: np.ndarray, k: int, rng: np.random.Generator, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """k-means++ and Lloyd's steps under weights (Arthur & Vassilvitskii 2007).

    Centres are drawn by the inverse of the distribution function, so that a point of weight 2 is
    drawn where two equal points, one after the other, are.
    """
    centres = np.empty((k, points.shape[-1]))
    nearest = np.ones(len(points))
    for i in range(k):
        ends = np.cumsum(weights * nearest)
        centres[i] = points[min(np.searchsorted(ends, rng.random() * ends[-1]), len(points) - 1)]
        square = ((points - centres[i]) ** 2).sum(-1)
        nearest = square if i == 0 else np.minimum(nearest, square)
    for _ in range(LLOYD_STEPS):
        label = ((points[:, None] - centres) ** 2).sum(-1).argmin(-1)
        mine = np.eye(k)[label] * weights[:, None]
        mass = mine.sum(0)
        if not mass.all():
            raise ClusterError
        centres = mine.T @ points / mass[:, None]
    return centres, label


def pairs(x: np.ndarray, weights: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Two points with weights in place of the points on a line in each cell of at most ``width``.

    They have the weight, the mean, the variance and the third moment of the points of their cell
    (Gauss's rule). So a sum of a function f over the points changes by at most
    :math:`\tfrac{1}{384} \sum_c w_c \, h_c^4 \max |f^{(4)}|`, with h_c the extent of a cell and w_c
    its weight. A cell of one or two points keeps them; points of
    no weight are left out.

    Args:
        x: points (n,).
        weights: of the points, (n,).
        width: largest extent of a cell.

    Example:
        >>> nodes, worth = pairs(np.array([0.0, 0.1, 0.2, 5.0]), np.ones(4), 1.0)
        >>> nodes.round(3).tolist(), worth.round(3).tolist()
        ([0.018, 0.182, 5.0], [1.5, 1.5, 1.0])
    """
    order = x.argsort(kind="stable")
    order = order[weights[order] > 0]
    x, weights = x[order], weights[order]
    nodes, worth = list[np.ndarray](), list[np.ndarray]()
    todo = [(0, len(x))]
    while todo:
        start, end = todo.pop()
        own, w = x[start:end], weights[start:end]
        if len(own) > 2 and own[-1] - own[0] > width:
            cut = start + int(np.searchsorted(own, 0.5 * (own[0] + own[-1]), side="right"))
            todo += [(cut, end), (start, cut)]
            continue
        own, w = _gauss(own, w) if len(own) > 2 else (own, w)
        nodes.append(own)
        worth.append(w)
    return np.concatenate(nodes), np.concatenate(worth)


def _gauss(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's rule of two nodes for sorted points (n,) with weights; of one, if all are equal."""
    mean = np.average(x, weights=w)
    if x[-1] - x[0] <= ROUNDING * np.abs(x).max():
        return np.array([mean]), np.array([w.sum()])
    deviation = np.sqrt(np.average((x - mean) ** 2, weights=w))
    skew = np.average(((x - mean) / deviation) ** 3, weights=w)
    z = 0.5 * (skew + np.array([-1.0, 1.0]) * np.sqrt(skew**2 + 4))
    return mean + deviation * z, w.sum() / (1 + z**2)


def gather(x: np.ndarray, weights: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Means and weights of the points in each of about ``cells`` cells.

    A cell is halved at the median of its widest axis until it holds at most n / ``cells`` points,
    so cells are small where points are dense. For a log density with Hessian H the sum over the
    points changes by :math:`\tfrac12 \sum_c w_c \, \mathrm{tr}(H_c S_c)` to leading order, with
    S_c the covariance inside a cell: the slope drops out, as the mean stands for the cell.

    Args:
        x: points (n, dim).
        weights: of the points, (n,).
        cells: their number, up to a factor of two.

    Returns:
        Means (m, dim) and weights (m,), m at most 2 ``cells``.

    Example:
        >>> means, weights = gather(np.arange(8.0)[:, None], np.ones(8), 2)
        >>> means[:, 0].tolist(), weights.tolist()
        ([1.5, 5.5], [4.0, 4.0])
    """
    most = max(1, len(x) // cells)
    ready, todo = list[np.ndarray](), [np.arange(len(x))]
    while todo:
        rows = todo.pop()
        own = x[rows]
        extent = np.ptp(own, axis=0)
        if len(rows) <= most or not extent.any():
            ready.append(rows)
            continue
        order = own[:, extent.argmax()].argsort(kind="stable")
        half = len(rows) // 2
        todo += [rows[order[half:]], rows[order[:half]]]
    worth = np.array([weights[rows].sum() for rows in ready])
    means = np.stack([np.average(x[rows], axis=0, weights=weights[rows]) for rows in ready])
    return means, worth
