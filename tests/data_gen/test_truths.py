"""One contract for every system of `data_gen` that declares a potential."""

import numpy as np
import pytest

from data_gen import elasticity, mechanochemistry, schlogl, waddington, wells

SYSTEMS = {
    truth.name: truth
    for truth in (
        schlogl.TRUTH,
        elasticity.TRUTH,
        *wells.TRUTHS,
        mechanochemistry.TRUTH,
        waddington.ONE_WELL,
        waddington.TWO_WELLS,
    )
}


@pytest.fixture(params=SYSTEMS.values(), ids=SYSTEMS.keys())
def truth(request):
    return request.param


def hessian(truth, x):
    """Symmetrised central differences of the gradient at x (dim,)."""
    step = 1e-5 * np.ptp(truth.bounds, axis=1)
    ahead, behind = truth.gradient(x + np.diag(step)), truth.gradient(x - np.diag(step))
    matrix = (ahead - behind) / (2 * step[:, None])
    return (matrix + matrix.T) / 2


def test_shapes(truth):
    points = np.random.default_rng(0).uniform(*truth.bounds.T, size=(7, truth.dim))
    assert truth.bounds.shape == (truth.dim, 2)
    assert truth.potential(points).shape == (7,)
    assert truth.gradient(points).shape == (7, truth.dim)


def test_gradient_is_that_of_the_potential(truth):
    points = np.random.default_rng(1).uniform(*truth.bounds.T, size=(50, truth.dim))
    width = np.ptp(truth.bounds, axis=1)
    differences = (
        truth.potential((points[:, None] + 1e-5 * np.diag(width)).reshape(-1, truth.dim))
        - truth.potential((points[:, None] - 1e-5 * np.diag(width)).reshape(-1, truth.dim))
    ).reshape(50, truth.dim) / (2e-5 * width)
    gradient = truth.gradient(points)
    np.testing.assert_allclose(differences, gradient, atol=1e-6 * np.abs(gradient).max())


def test_stationary_points_lie_inside_the_bounds(truth):
    for point in truth.stationary_points:
        assert (truth.bounds[:, 0] <= point.location).all()
        assert (point.location <= truth.bounds[:, 1]).all()


def test_gradient_vanishes_at_stationary_points(truth):
    """One Newton step stays within the decimals to which a point is declared."""
    for point in truth.stationary_points:
        x = np.array(point.location)
        step = np.linalg.solve(hessian(truth, x), truth.gradient(x[None])[0])
        assert np.abs(step).max() <= 0.5 * 10.0**-truth.digits


def test_stationary_points_are_of_their_kind(truth):
    for point in truth.stationary_points:
        curvatures = np.linalg.eigvalsh(hessian(truth, np.array(point.location)))
        positive = (curvatures > 0).mean()
        kind = {1.0: "minimum", 0.0: "maximum"}.get(positive, "saddle")
        assert kind == point.kind
