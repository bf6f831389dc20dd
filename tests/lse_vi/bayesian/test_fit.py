"""fit_posterior: from every guide, repeatable, and leaving all else alone."""

import importlib

import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import AutoLSEICNN, count_modes, fit_guide, fit_posterior
from lse_vi.bayesian.fit import GUIDES


def test_same_seed_same_draws_and_the_global_state_is_left_alone():
    state = torch.get_rng_state()
    a, b = (
        fit_posterior(torch.arange(9.0) ** 2, modes=1, draws=20, steps=5, progress=False)
        for _ in range(2)
    )
    assert torch.equal(a.theta, b.theta)
    assert torch.equal(state, torch.get_rng_state())


def test_the_guide_with_several_modes_leaves_a_guide_of_the_user_alone():
    """It has the same name in Pyro's parameter store; and its seed is the fit's."""

    def model():
        pyro.sample("x", dist.Normal(0.0, 1.0))

    AutoLSEICNN(model, modes=1)()
    before = dict(pyro.get_param_store().named_parameters())
    quick = {"modes": 1, "hidden": (), "guide": "lse_icnn", "draws": 50, "progress": False}
    seeds = []

    def seeded(*args, **options):
        seeds.append(options["seed"])
        return fit_guide(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("lse_vi.bayesian.fit"), "fit_guide", seeded)
        fit_posterior(torch.randn(20), seed=7, **quick)
    after = dict(pyro.get_param_store().named_parameters())
    assert seeds == [7]
    assert len(before) == len(after) > 0
    assert all(after[name] is p for name, p in before.items())


@pytest.mark.parametrize("guide", [g for g in GUIDES if g != "lse_icnn"])
def test_every_guide_finds_two_groups(guide, two_groups):
    post = fit_posterior(
        two_groups(60), modes=2, guide=guide, draws=100, steps=60, annealed=False,
        progress=False,
    )  # fmt: skip
    assert max(post.mode_probabilities, key=post.mode_probabilities.get) == 2


def test_a_guide_is_judged_and_changes_no_evidence(two_groups):
    """The guide with one Gaussian mode fits a posterior of three coordinates: k-hat is small."""
    x = two_groups(60)
    none, full, lse = (
        fit_posterior(x, modes=1, hidden=(), guide=guide, draws=200, progress=False).evidence
        for guide in (None, "full", "lse_icnn")
    )
    assert none.k_hat is None
    assert max(full.k_hat, lse.k_hat) < 0.7
    for one in (full, lse):
        error = (one.error**2 + none.error**2) ** 0.5
        assert abs(one.log_evidence - none.log_evidence) < 4 * error


def test_draws_of_a_guide_need_one():
    with pytest.raises(ValueError, match="annealed=False asks for draws of a guide, but guide is"):
        fit_posterior(torch.randn(30), annealed=False)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="constant in column"):
        count_modes(torch.ones(30))
    with pytest.raises(ValueError, match="at least 4 points"):
        fit_posterior(torch.arange(3.0))
    with pytest.raises(ValueError, match="1 to 3 dimensions"):
        fit_posterior(torch.randn(30, 4))
    with pytest.raises(ValueError, match="guide must be one of"):
        fit_posterior(torch.randn(30), guide="best")
    with pytest.raises(ValueError, match="from at most 10 coordinates, but 3 modes"):
        fit_posterior(torch.randn(30), modes=3, guide="lse_icnn")
    with pytest.raises(ValueError, match="units must be"):
        fit_posterior(torch.randn(30), units=(0.0, -1.0))
    with pytest.raises(ValueError, match="at most 6"):
        count_modes(torch.randn(30), modes=9, guide="laplace", progress=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_data_on_a_gpu_are_computed_with_on_the_cpu():
    x = torch.randn(30)
    here, there = (
        fit_posterior(data, modes=1, guide="laplace", draws=50, progress=False)
        for data in (x, x.cuda())
    )
    assert there.theta.device.type == "cpu"
    torch.testing.assert_close(here.theta, there.theta)
