"""Proposals know nothing of labels."""

import itertools

import pytest
import torch
from pyro.distributions import MultivariateStudentT

from lse_vi.bayesian.proposals import Student


@pytest.mark.parametrize("modes", [1, 2, 3])
def test_a_proposal_is_averaged_over_the_labellings(modes):
    size = 2 * modes
    loc, root = torch.randn(size), torch.randn(size, size).tril(-1) + torch.eye(size)
    theta = torch.randn(50, size)
    law = MultivariateStudentT(8.0, loc, root)
    blocks = theta.unflatten(-1, (modes, -1))
    each = [
        law.log_prob(blocks[:, list(order)].flatten(-2))
        for order in itertools.permutations(range(modes))
    ]
    expected = torch.stack(each).exp().mean(0).log()
    torch.testing.assert_close(Student(loc, root).log_prob(theta, modes), expected)
