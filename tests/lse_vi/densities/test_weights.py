"""Weights of points: counts are repeated points, in every sum of a fit and in the whole."""

import math

import pytest
import torch

from lse_vi import fit_density
from lse_vi.densities.data_source import Points
from lse_vi.densities.fisher_coordinates import FisherCoordinates
from lse_vi.densities.merging import merge_closest
from lse_vi.densities.objective import judge, log_posterior
from lse_vi.densities.starts import start_on_mixture
from lse_vi.densities.training_data import FitData
from lse_vi.distribution.quadrature import Quadrature
from lse_vi.network.icnn import WhitenedICNN
from lse_vi.network.potential import LSEICNN

QUICK = {"progress": False, "restarts": 2, "modes": 3}


def two_groups(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, generator=generator)
    return torch.where(torch.rand(n, generator=generator) < 0.4, 0.7 * x - 3, x + 2)


@pytest.fixture
def twice():
    """The same data as counts and as repeated points."""
    x = two_groups(60)
    counts = torch.randint(0, 5, (60,), generator=torch.Generator().manual_seed(1))
    return (x, counts), (x.repeat_interleave(counts), None)


def of(x, weights):
    points = Points.of("x", x, weights)
    return FitData.split(points, 0, len(points), torch.float64)


def test_every_sum_of_a_fit_takes_counts_as_repeated_points(twice):
    ends = []
    for x, weights in twice:
        data = of(x, weights)
        pot = LSEICNN(1, 3, batch_shape=(1,), rho=1.0, network=WhitenedICNN)
        torch.manual_seed(0)
        own = torch.ones(len(data.rows)) if weights is None else data.sample_weights
        order = data.rows.argsort()  # the same order for both
        start_on_mixture(pot, data.sample[order], 0, 2, weights=own[order])
        rule = Quadrature().rule(pot, None)
        torch.manual_seed(0)
        coordinates = FisherCoordinates(pot, rule, data.size)
        merged = merge_closest(pot.select(0), data.sample, weights=data.sample_weights)
        ends.append(
            [
                *data.points.moments,
                data.size,
                pot.network.loc.detach(),
                judge(pot, data, rule)[0],
                log_posterior(pot, data, rule).detach(),
                coordinates.factors[0][0],
                merged.network.loc.detach(),
            ]
        )
    for counted, repeated in zip(*ends, strict=True):
        torch.testing.assert_close(counted, repeated, rtol=1e-8, atol=1e-8)


def test_a_histogram_gives_the_density_of_its_points():
    """Cells of a tenth: cell by cell, the likelihood of the law is known from all points."""
    x = two_groups(3000)
    cells, counts = (x * 10).round().unique(return_counts=True)
    res = fit_density(cells / 10, weights=counts, **QUICK)
    assert int(res.active_modes) == 2
    assert float(res.ess) == 3000
    both = fit_density(x, **QUICK)
    grid = torch.linspace(-7, 7, 400).unsqueeze(-1)
    apart = (res.density.log_prob(grid).exp() - both.density.log_prob(grid).exp()).abs()
    assert float(apart.sum() * 14 / 400) / 2 < 0.02


@pytest.mark.slow
def test_weights_undo_the_way_in_which_points_were_drawn():
    """Drawn from N(0, 2), weighted to the law 0.4 N(-3, .7) + 0.6 N(2, 1)."""
    generator = torch.Generator().manual_seed(3)
    x = 4 * torch.rand(4000, generator=generator) * 4 - 8
    law = torch.logaddexp(
        math.log(0.4) + torch.distributions.Normal(-3.0, 0.7).log_prob(x),
        math.log(0.6) + torch.distributions.Normal(2.0, 1.0).log_prob(x),
    )
    res = fit_density(x, weights=123.4 * law.exp(), **QUICK)
    same = fit_density(two_groups(round(float(res.ess)), seed=4), **QUICK)
    grid = torch.linspace(-8, 8, 800)
    truth = torch.logaddexp(
        math.log(0.4) + torch.distributions.Normal(-3.0, 0.7).log_prob(grid),
        math.log(0.6) + torch.distributions.Normal(2.0, 1.0).log_prob(grid),
    ).exp()
    off, off_plain = (
        float((q.density.log_prob(grid.unsqueeze(-1)).exp() - truth).abs().sum() * 16 / 800) / 2
        for q in (res, same)
    )
    assert off < off_plain + 0.01
    assert int(res.active_modes) == 2


def test_data_sets_of_different_lengths_are_fitted_in_one_batch():
    """Weight 0 fills up the shorter one, and says nothing, whatever stands there."""
    long, short = two_groups(400), 3 + torch.randn(150)
    x = torch.stack([long, torch.cat([short, short[:1].expand(250)])], 1).unsqueeze(-1)
    weights = torch.ones(400, 2, dtype=torch.long)
    weights[150:, 1] = 0
    res = fit_density(x, weights=weights, **QUICK)
    assert res.active_modes.tolist() == [2, 1]
    assert res.ess.tolist() == [400, 150]
    mean = res.density.mean
    assert float(mean[1]) == pytest.approx(float(short.mean()), abs=0.05)
    assert float(mean[0]) == pytest.approx(float(long.mean()), abs=0.05)


def test_rows_without_weight_change_nothing():
    x = two_groups(80)
    weights = torch.cat([torch.full((80,), 2), torch.zeros(5, dtype=torch.long)])
    few = {**QUICK, "steps": 20, "polish": 0, "modes": 1}
    with_strays = fit_density(torch.cat([x, 1e6 * torch.arange(1.0, 6)]), weights=weights, **few)
    without = fit_density(x, weights=weights[:80], **few)
    assert torch.equal(with_strays.mode_locations, without.mode_locations)


@pytest.mark.parametrize(
    ("weights", "read", "said"),
    [
        (None, "", ""),
        (torch.arange(1, 41), "counts", "weights read as counts of 820 points (floats would be"),
        (torch.arange(1, 41) / 3, "relative", "relative weights, worth 30.37 effective points"),
    ],
)
def test_a_report_says_how_weights_were_read(weights, read, said):
    x = torch.randn(40)
    res = fit_density(x, weights=weights, modes=1, steps=10, polish=0, progress=False)
    assert res.weights_read == read
    assert said in str(res)
    assert ("weights" in str(res)) == bool(read)
