"""Sequential Monte Carlo: its steps, its resampling, and what it says of the evidence."""

import math

import pytest
import torch

from lse_vi.numerics.tempering import KEPT, _next_step, stratified, temper

SIZE, REPEATS = 500, 200


def test_a_stage_keeps_its_share_of_the_draws_and_always_moves_on():
    log_w = 30 * torch.randn(1, 1000)
    one = torch.ones(1)
    step = _next_step(log_w, one)
    kept = 1 / (1000 * torch.softmax(step * log_w, 1).square().sum())
    assert float(kept) == pytest.approx(KEPT, abs=1e-3)
    assert float(_next_step(1e-3 * log_w, 0.5 * one)) == 0.5
    log_w[:, :500] = torch.finfo(log_w.dtype).min  # half of the draws have no density
    assert 0 < float(_next_step(log_w, one)) < 1e-6


def test_each_index_is_drawn_as_often_as_it_should_be_up_to_one():
    shares = torch.softmax(2 * torch.randn(50), 0)
    count = torch.bincount(stratified(shares, 1000), minlength=50)
    assert float((count - 1000 * shares).abs().max()) <= 1.0
    assert torch.equal(stratified(torch.ones(7) / 7, 7), torch.arange(7))


def narrower(islands, width=0.2):
    """Draws of N(0, 1), to become N(0.5, width), with exact moves: each draw is replaced."""

    def log_ratio(x):
        there = -0.5 * ((x - 0.5) / width).square() - math.log(width)
        return there + 0.5 * x.square() + 2.0  # log Z = 2

    def move(population, power, last):
        precision = 1 - power + power / width**2
        x = power * 0.5 / width**2 / precision + torch.randn_like(power) / precision.sqrt()
        return {"x": x, "log_ratio": log_ratio(x)}

    x = torch.randn(islands * SIZE)
    return temper({"x": x, "log_ratio": log_ratio(x)}, move, islands=islands)


def test_the_evidence_is_unbiased_and_its_variance_right():
    end = narrower(REPEATS)
    z = (end.log_evidence - 2.0).exp()
    assert abs(float(z.mean()) - 1) < 4.5 * float(z.std()) / REPEATS**0.5
    assert end.stages > 1
    true, said = float(end.log_evidence.var()), float(end.variance.mean())
    # The variance of 200 islands is known to 10 %; as moves are exact here, it is less than said.
    assert 0.7 * true < said < 2 * true


def test_draws_follow_the_posterior():
    x = narrower(REPEATS).population["x"]
    error = 0.2 / (REPEATS * SIZE) ** 0.5
    assert abs(float(x.mean()) - 0.5) < 4.5 * error
    assert float(x.std()) == pytest.approx(0.2, rel=0.01)


def test_what_strata_differ_by_is_no_error_of_the_evidence():
    """Half of the draws where p/r is 1.5, half where it is 0.5, apart from noise."""
    estimates, claimed = [], []
    for _ in range(REPEATS):
        strata = torch.arange(SIZE) % 2
        log_ratio = (0.5 + strata).log() + 0.2 * torch.randn(SIZE)
        end = temper({"log_ratio": log_ratio}, lambda x, power, last: x, kept=0.0, strata=strata)
        estimates.append(float(end.log_evidence))
        claimed.append(float(end.variance))
    spread = torch.tensor(estimates).var()
    # A variance of 200 numbers is within 35 % of the truth in all but 1 of 2,000 cases.
    assert float(torch.tensor(claimed).mean() / spread) == pytest.approx(1.0, abs=0.35)
    alone = temper({"log_ratio": log_ratio}, lambda x, power, last: x, kept=0.0)
    assert float(alone.variance) > 3 * float(spread)
