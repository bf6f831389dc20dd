"""Annealed draws and their evidence."""

import itertools

import pytest
import torch

from data_gen.mixtures import OVERLAPPING
from lse_vi import BayesianDensity
from lse_vi.bayesian import annealing
from lse_vi.bayesian.annealing import LabelledMoves, anneal
from lse_vi.bayesian.proposals import Student, tail_shape
from lse_vi.fitting.random_state import seeded


@pytest.fixture(scope="module")
def tiny():
    """Two Gaussian modes and 6 points: prior draws estimate p(x) and means without any method."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    model = BayesianDensity(torch.tensor([-1.2, -1.0, -0.8, 0.9, 1.0, 1.2]), modes=2, hidden=())
    theta = model.prior_sample(400_000)
    log_w = model.log_likelihood(theta).sum(0)
    assert float(log_w.exp().std() / log_w.exp().mean()) < 0.03 * 400_000**0.5  # its error, nats
    return model, theta, log_w


def test_evidence_of_a_tiny_model_is_that_of_brute_force(tiny):
    model, _, log_w = tiny
    expected = float(log_w.logsumexp(0)) - torch.tensor(400_000.0).log()
    z = []
    for seed in range(8):
        with seeded(seed):
            one = anneal(model, 1000)
        z.append((one.log_evidence - expected) / (one.log_evidence_error**2 + 0.03**2) ** 0.5)
    z = torch.stack(z)
    assert z.abs().max() < 4
    # the sum of 8 squares of normal z-scores is above 26 once in a thousand times
    assert z.square().sum() < 26


def test_draws_of_a_tiny_model_are_those_of_brute_force(tiny):
    """Means of what no labelling changes, against the prior's draws under weights."""
    model, theta, log_w = tiny
    with seeded(1):
        drawn = anneal(model, 4000).theta
    x = torch.linspace(-2, 2, 9)
    w = torch.softmax(log_w, 0)
    ess = float(1 / w.square().sum())
    at = model.coordinates
    values, known = (at.log_density(t, x.unsqueeze(1)).exp().mT for t in (drawn, theta))
    mean = known @ w
    spread = ((known - mean.unsqueeze(1)).square() @ w).sqrt()
    gap = (values.mean(1) - mean).abs()
    # Draws that moved from copies count for less than independent ones: as a quarter of them.
    assert (gap < 4.5 * spread * (4 / 4000 + 1 / ess) ** 0.5).all()


@pytest.mark.slow
def test_evidence_of_more_modes_than_needed_is_that_of_a_long_run():
    """Five modes for two groups: many explanations, of which a law around one peak sees one.

    The reference is one run with five times the draws and moves.
    """
    model = BayesianDensity(OVERLAPPING.sample(150, 1), modes=5).gathered()
    with pytest.MonkeyPatch.context() as patch, seeded(100):
        patch.setattr(annealing, "MOVES", 8)
        patch.setattr(annealing, "KEPT", 0.7)
        long = anneal(model, 3000)
    found = []
    for seed in range(6):
        with seeded(seed):
            found.append(anneal(model, 1000))
    z = torch.tensor(
        [
            (one.log_evidence - long.log_evidence)
            / (one.log_evidence_error**2 + long.log_evidence_error**2) ** 0.5
            for one in found
        ]
    )
    assert z.square().sum() < 22.5  # once in a thousand times for normal z-scores


def test_draws_get_the_labelling_of_the_best_draw():
    model = BayesianDensity(torch.cat([torch.randn(30) - 4, torch.randn(60) + 4]), modes=3)
    moves = LabelledMoves(model)
    first = model.starts(1)[0].unflatten(-1, (3, -1))
    shuffled = torch.stack([first[list(o)] for o in itertools.permutations(range(3))]).flatten(1)
    population = moves._matched(moves.look(shuffled))
    theta = population["theta"]
    torch.testing.assert_close(theta, theta[:1].expand_as(theta))
    torch.testing.assert_close(population["slope"], moves.look(theta)["slope"])


def test_a_log_joint_that_is_nowhere_finite_is_refused():
    model = BayesianDensity(torch.randn(20), modes=1, hidden=())
    model.unit_log_joint = lambda theta: torch.nan * theta[:, 0]
    law = Student(torch.zeros(model.size), torch.eye(model.size))
    with pytest.raises(ValueError, match="NaN or minus infinity at all 50 draws of the prior"):
        anneal(model, 50)
    assert tail_shape(model, law, 50) == torch.inf
