"""Smoothed importance weights, and the exponent of their tail."""

import math

import pytest
import torch

from lse_vi.numerics.pareto import smooth


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_k_hat_is_the_exponent_of_the_tail(k):
    """Weights u^-k follow Pareto's law with exponent k; of 20,000 the tail is 424 weights.

    The standard error of an exponent from m of them is (1 + k) / sqrt(m), here 0.06 to 0.09.
    """
    tail = 3 * 20_000**0.5
    for _ in range(5):
        found = smooth(-k * torch.rand(20_000).log())[1]
        assert found == pytest.approx(k, abs=4.5 * (1 + k) / tail**0.5)


def test_weights_are_normalised_and_the_bulk_keeps_its_proportions():
    log_weights = 2 * torch.randn(2000)
    smoothed, _ = smooth(log_weights)
    assert float(smoothed.exp().sum()) == pytest.approx(1.0)
    bulk = log_weights < log_weights.quantile(0.5)
    shift = (smoothed - log_weights)[bulk]
    torch.testing.assert_close(shift, shift[:1].expand(len(shift)))
    order = smoothed[log_weights.argsort()]
    assert bool((order.diff() >= 0).all())


def test_equal_weights_have_no_tail_and_weights_of_zero_are_none():
    uniform, k = smooth(torch.zeros(100))
    torch.testing.assert_close(uniform.exp(), torch.full((100,), 0.01))
    assert k == -torch.inf
    assert smooth(torch.full((100,), torch.finfo(torch.float64).min))[1] == torch.inf


def test_the_dtype_is_kept():
    assert smooth(torch.randn(100, dtype=torch.float32))[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("n", "spread", "k"),
    [
        (100, 0.5, 0.22143019106785572),
        (1000, 1.0, 0.29075302447559664),
        (4000, 2.0, 0.6237487813556808),
    ],
)
def test_k_hat_is_the_same_with_every_arviz(n, spread, k):
    """The numbers are those of ``psislw`` in ArviZ 0.23.4; normal quantiles are the log weights."""
    rank = (torch.arange(n) + 0.5) / n
    log_weights = spread * torch.special.ndtri(rank)[torch.randperm(n)]
    assert smooth(log_weights)[1] == pytest.approx(k, abs=1e-9)


def test_the_tail_is_of_the_large_weights_and_not_of_the_small():
    """log w and -log w have tails of their own: ArviZ 1.x takes the one, 0.x the other."""
    light = -torch.rand(1000).log() * -2.0  # weights u^2, bounded
    assert smooth(light)[1] < 0.2 < 1.5 < smooth(-light)[1]


def test_weights_of_zero_beside_others_weigh_nothing():
    log_weights = torch.randn(500)
    k = smooth(log_weights)[1]
    both, _ = smooth(torch.cat([torch.full((3,), -math.inf), log_weights]))
    assert bool((both[:3] == -math.inf).all())
    assert float(both.exp().sum()) == pytest.approx(1.0)
    assert smooth(torch.full((9,), -math.inf))[1] == math.inf
    assert k < math.inf


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_weight(bad):
    with pytest.raises(ValueError, match="log_weights must be numbers or -inf"):
        smooth(torch.tensor([0.0, bad, 1.0]))


def test_a_chain_that_moves_slowly_has_a_longer_tail():
    log_weights = torch.randn(1000)
    whole, part = smooth(log_weights)[0], smooth(log_weights, efficiency=0.1)[0]
    body = log_weights < log_weights.quantile(0.75)
    moved = ((whole - part)[~body] - (whole - part)[body].mean()).abs()
    assert int((moved > 1e-9).sum()) > 3 * 1000**0.5
