"""Moves that leave a tempered posterior as it is."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import AutoLSEICNN
from lse_vi.guides.proposal import Prior, Proposal
from lse_vi.sampling.hamiltonian import FrameMoves

COUNT = 20_000


def two_normals():
    """Two normal modes of different width, 30 % and 70 %."""
    x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1).mask(False))
    one = dist.Normal(-2.0, 1.0).log_prob(x).sum(-1) + math.log(0.3)
    two = dist.Normal(2.0, 0.3).log_prob(x).sum(-1) + math.log(0.7)
    pyro.factor("both", torch.logaddexp(one, two))


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_exact_draws_stay_exact(power):
    """At b = 1 draws of the posterior, at b = 0 draws of the proposal."""
    loc = torch.tensor([[-1.5, -2.0], [2.0, 2.2]])
    law = Proposal.around(
        loc, torch.eye(2).expand(2, 2, 2), torch.zeros(2), Prior(3 * torch.randn(99, 2))
    )
    first = torch.rand(COUNT, 1) < 0.3
    posterior = torch.where(first, -2 + torch.randn(COUNT, 2), 2 + 0.3 * torch.randn(COUNT, 2))
    x = posterior if power else law.sample(COUNT)[0]
    moves = FrameMoves(AutoLSEICNN(two_normals).log_joint(), law)
    moved = moves(moves.look(x), torch.full((COUNT,), power), True)["x"]
    assert float((moved != x).any(1).double().mean()) > 0.9  # they did move
    fresh = posterior[torch.randperm(COUNT)] if power else law.sample(COUNT)[0]
    for g in (lambda x: x.tanh(), lambda x: (x.norm(dim=1) < 1.5).double(), lambda x: x[:, 0] > 0):
        a, b = g(moved).double(), g(fresh).double()
        error = (a.var(0) / COUNT + b.var(0) / COUNT).sqrt()
        assert bool(((a.mean(0) - b.mean(0)).abs() < 4.5 * error).all())


def test_steps_adapt_to_their_parts():
    law = Proposal(
        torch.tensor([[-2.0, -2.0], [2.0, 2.0]]),
        torch.stack([torch.eye(2), 3 * torch.eye(2)]),  # the second far too wide
        torch.full((2,), -math.log(2.0)),
    )
    moves = FrameMoves(AutoLSEICNN(two_normals).log_joint(), law)
    population, one = moves.look(law.sample(2000)[0]), torch.ones(2000)
    for _ in range(3):
        population = moves(population, one, True)
    assert moves.step[1] < 0.5 * moves.step[0]
