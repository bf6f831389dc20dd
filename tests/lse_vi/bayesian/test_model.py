"""The Bayesian density as a Pyro model."""

import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal

from lse_vi import BayesianDensity


def test_pyro_log_joint_is_ours_in_any_frame(two_groups):
    model = BayesianDensity(two_groups(40), modes=2)
    root = (0.1 * torch.randn(model.size, model.size)).tril(-1) + torch.eye(model.size)
    for framed in (model, model.in_frame(torch.randn(model.size), root)):
        trace = poutine.trace(framed).get_trace()
        expected = model.log_joint(framed.theta(trace.nodes["z"]["value"]))
        log_det = framed.root.diagonal().log().sum()  # of theta in z
        torch.testing.assert_close(trace.log_prob_sum(), expected + log_det)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_particles_vectorise_under_pyro(dim):
    model = BayesianDensity(torch.randn(20, dim), modes=2)
    guide = AutoDiagonalNormal(model, init_scale=0.01)
    guide(), guide.loc.data.zero_()
    elbos = [
        Trace_ELBO(64, vectorize_particles=v, max_plate_nesting=1).loss(model, guide)
        for v in (True, False)
    ]
    assert elbos[0] == pytest.approx(elbos[1], abs=2.0)


@pytest.mark.parametrize("hidden", [(), (3,), (3, 2)])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_log_joint_is_the_sum_over_the_points_with_its_gradients(dim, hidden):
    """It is computed in a way of its own; second derivatives too, as Laplace's frame needs them."""
    model = BayesianDensity(
        torch.randn(20, dim), modes=2, hidden=hidden, weights=torch.arange(1, 21)
    )
    at = model.coordinates.standardised

    def expected(theta):
        return model.log_prior(theta) + at.log_density(theta, model.unit_x) @ model.weights

    theta = model.prior_sample(6).reshape(2, 3, -1).requires_grad_()
    values = model.unit_log_joint(theta), expected(theta)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(v.sum(), theta)[0] for v in values))
    if dim == 1:
        one = theta.detach()[0, 0]
        torch.testing.assert_close(
            *(torch.autograd.functional.hessian(f, one) for f in (model.unit_log_joint, expected))
        )
