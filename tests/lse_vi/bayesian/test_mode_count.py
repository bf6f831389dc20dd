"""The count of modes."""

import pytest
import torch

from lse_vi import BayesianDensity, compare_densities, count_modes
from lse_vi.bayesian.evidence import Evidence
from lse_vi.bayesian.mode_count import ModeCount
from lse_vi.bayesian.result import DensityPosterior


def test_separated_groups_are_counted_and_loo_prefers_two(two_groups):
    count = count_modes(two_groups(100), modes=3, draws=200, guide="laplace", progress=False)
    assert count.most_probable == 2
    assert sum(count.probabilities.values()) == pytest.approx(1.0)
    assert sum(count.part_probabilities.values()) == pytest.approx(1.0)
    table = compare_densities(count.posteriors)
    assert table.index[-1] == "1"
    assert table["rank"].tolist() == [0, 1, 2]
    assert table["elpd_diff"].iloc[0] == table["dse"].iloc[0] == 0
    assert table["elpd"].is_monotonic_decreasing
    assert table["weight"].sum() == pytest.approx(1.0)
    other = BayesianDensity(torch.randn(30), modes=1, hidden=())
    prior = DensityPosterior(other, other.prior_sample(9).unsqueeze(0), source="prior")
    with pytest.raises(ValueError, match=r"posteriors must be .* the same data.*'other': 30"):
        compare_densities({**count.posteriors, "other": prior})
    assert "log evidence" in str(count)


def test_draws_keep_the_proportions_where_a_posterior_holds_too_few():
    model = BayesianDensity(torch.randn(20), modes=2, hidden=())
    evidence = {1: 0.0, 2: -1.0}  # P(K | x) = 0.731, 0.269
    count = ModeCount(
        {
            k: DensityPosterior(
                model,
                model.prior_sample(200).unsqueeze(0),
                source="prior",
                evidence=Evidence(log_p, 0.0, 0.0),
            )
            for k, log_p in evidence.items()
        }
    )
    assert count._share(100) == {1: 73, 2: 27}
    assert count._share(1000) == {1: 200, 2: 74}
    assert count.density(torch.zeros(3)).shape == count.cdf(torch.zeros(3)).shape == (274, 3)


@pytest.mark.slow
def test_separated_groups_are_counted_in_two_dimensions():
    """Three parts explain the first set as well as two do: with 1,500 draws two peaks have 0.81.

    The log odds of the parts have an error of half a nat with 500 draws, which is 0.05 in this
    probability, and the share of draws with two peaks one of 0.03: 0.65 is nearly three below.
    """
    for seed in (210, 211):
        torch.manual_seed(seed)
        side = torch.where(torch.rand(150, 1) < 0.5, -1.0, 1.0)
        x = torch.randn(150, 2) + side * torch.tensor([3.0, 0.0])
        count = count_modes(x, modes=3, draws=500, seed=seed, progress=False)
        assert count.probabilities[2] > 0.65
        left, right = (peak.location for peak in count.best.peak_table())
        assert (left + right).norm() < 1.0
        assert (right - left)[0] > 4.0
