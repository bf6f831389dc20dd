"""The prior of a fit: normal for places and widths of modes, heavy tails for their shapes."""

import pyro.distributions as dist
import pytest
import torch

from lse_vi import LSEICNN, WhitenedICNN
from lse_vi.densities.weight_prior import log_prior, prior_moments

STUDENT = [f"network.icnn.{part}" for part in ("weight", "bias", "raw_inner.0", "raw_inner.1")]
NORMAL = ["network.loc", "network.log_diagonal", "network.off_diagonal", "alpha", "log_rho"]


@pytest.mark.parametrize("name", STUDENT + NORMAL)
def test_each_parameter_has_its_law(name):
    """What a move of one parameter costs is the difference of its law's log densities."""
    options = {"network": WhitenedICNN, "batch_shape": (5,), "dtype": torch.float64}
    pot = LSEICNN(2, 3, hidden=(4, 3), **options)
    mean, sd = prior_moments(pot)[name]
    law = dist.StudentT(2.0, mean, 2 * sd) if name in STUDENT else dist.Normal(mean, sd)
    here = dict(pot.named_parameters())[name]
    there = here + 30 * torch.randn_like(here)
    cost = (law.log_prob(there) - law.log_prob(here)).reshape(5, -1).sum(-1)
    torch.testing.assert_close(log_prior(pot.with_parameters({name: there})) - log_prior(pot), cost)


def test_what_is_not_trained_counts_nothing():
    pot = LSEICNN(1, 2, batch_shape=(3,))
    pot.requires_grad_(False)
    assert torch.equal(log_prior(pot), torch.zeros(3))
