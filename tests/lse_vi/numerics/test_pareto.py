"""Smoothed importance weights, and the exponent of their tail."""

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
