"""Weights of points: integers are repeated points, floats are worth Kish's effective number."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lse_vi.numerics.weighted import Weights, mean_and_error, weighted_quantile

COUNTS = st.lists(st.integers(0, 5), min_size=3, max_size=12).filter(any)


@settings(deadline=None)
@given(COUNTS, st.floats(0, 1))
def test_a_quantile_under_counts_is_that_of_repeated_points(counts, q):
    generator = torch.Generator().manual_seed(sum(counts))
    x = torch.randn(len(counts), 2, generator=generator)
    number = torch.tensor(counts)
    expected = torch.quantile(x.repeat_interleave(number, 0), q, dim=0)
    torch.testing.assert_close(weighted_quantile(x, number, q), expected)


@settings(deadline=None)
@given(COUNTS, st.floats(1e-300, 1e300))
def test_relative_weights_are_worth_kish_number_whatever_their_sum(counts, factor):
    w = torch.tensor(counts, dtype=torch.float64)
    worth = Weights.of("weights", w * factor / 10, (len(counts),))
    assert float(worth.size) == pytest.approx(float(w.sum() ** 2 / w.square().sum()))
    assert not worth.counts


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -1.0], "must not be negative"),
        ([0, 0], "above 0 for some point"),
        ([1.0, float("nan")], "finite"),
        ([1.0], r"shape \(2,\)"),
        (["a", "b"], "real numbers"),
    ],
)
def test_what_cannot_be_weights_is_refused_by_name(weights, message):
    with pytest.raises((TypeError, ValueError), match=f"weights.*{message}"):
        Weights.of("weights", weights, (2,))


def test_absent_entries_count_neither_in_the_mean_nor_in_its_error():
    values = torch.randn(9, 2)
    padded = torch.cat([values, torch.full((4, 2), torch.nan)])
    mean, error = mean_and_error(padded, correction=1)
    torch.testing.assert_close(mean, values.mean(0))
    torch.testing.assert_close(error, values.std(0) / 3)
