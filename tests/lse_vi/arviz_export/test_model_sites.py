"""Sites of a model: right values, named dimensions, and which are data."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoDiagonalNormal, AutoMultivariateNormal, AutoNormal
from pyro.infer.reparam import LocScaleReparam

from lse_vi.arviz_export.export import to_arviz

modes_of_running = pytest.mark.parametrize("parallel", [False, True], ids=["loop", "plate"])


@modes_of_running
@pytest.mark.parametrize(
    "guide", [AutoNormal, AutoDiagonalNormal, AutoMultivariateNormal], ids=lambda g: g.__name__
)
def test_plates_become_dimensions(guide, parallel, hierarchy):
    y = torch.randn(3, 4)
    idata = to_arviz(guide(hierarchy), hierarchy, y, num_samples=7, parallel=parallel)
    shapes = {
        "mu": {},
        "scale": {},
        "positive": {},
        "weights": {"weights_dim_0": 2},
        "shift": {"group": 3},
        "level": {"group": 3, "time": 4},
    }
    for group in ("posterior", "prior"):
        assert set(idata[group]) == set(shapes)
        for name, shape in shapes.items():
            assert dict(idata[group][name].sizes) == {"chain": 1, "draw": 7, **shape}
    for group in ("log_likelihood", "posterior_predictive", "prior_predictive"):
        assert dict(idata[group]["y"].sizes) == {"chain": 1, "draw": 7, "group": 3, "time": 4}
    assert idata["observed_data"]["y"].dims == ("group", "time")
    assert np.array_equal(idata["observed_data"]["y"], y)


@modes_of_running
def test_log_likelihood_and_computed_sites_by_hand(parallel, hierarchy):
    y = torch.randn(3, 4)
    guide = AutoNormal(hierarchy)
    idata = to_arviz(guide, hierarchy, y, num_samples=7, parallel=parallel, prior=False)
    post = {name: torch.as_tensor(idata["posterior"][name].values) for name in idata["posterior"]}
    slope = post["weights"][..., 0, None, None] * torch.arange(4.0)
    level = post["shift"][..., None] + slope
    by_hand = dist.Normal(level, post["mu"].exp()[..., None, None]).log_prob(y)
    assert torch.allclose(post["level"], level)
    assert torch.allclose(post["scale"], post["mu"].exp())
    assert idata["log_likelihood"]["y"].values == pytest.approx(by_hand.numpy())


@modes_of_running
def test_vector_observations_are_one_observation_each(parallel):
    def model(y):
        mu = pyro.sample("mu", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("item", len(y)):
            pyro.sample("y", dist.MultivariateNormal(mu, torch.eye(2)), obs=y)

    y = torch.randn(5, 2)
    idata = to_arviz(AutoNormal(model), model, y, num_samples=3, parallel=parallel)
    assert idata["log_likelihood"]["y"].dims == ("chain", "draw", "item")
    assert idata["posterior_predictive"]["y"].shape == (1, 3, 5, 2)
    assert idata["posterior_predictive"]["y"].dims[:3] == ("chain", "draw", "item")
    mu = torch.as_tensor(idata["posterior"]["mu"].values)[0, :, None]
    by_hand = dist.MultivariateNormal(mu, torch.eye(2)).log_prob(y)
    assert idata["log_likelihood"]["y"].values[0] == pytest.approx(by_hand.numpy())


@modes_of_running
def test_masked_observations_score_nothing(parallel, data, conjugate, exact_guide):
    missing = torch.tensor([False, True, False, False, True, False])

    def model(y):
        with poutine.mask(mask=~missing):
            conjugate(y)

    idata = to_arviz(exact_guide, model, data, num_samples=3, parallel=parallel, prior=False)
    assert (idata["log_likelihood"]["y"].values[..., missing.numpy()] == 0).all()
    assert (idata["log_likelihood"]["y"].values[..., ~missing.numpy()] < 0).all()


def test_several_observed_sites_and_a_loop_over_a_plate(data):
    def model(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        for i in pyro.plate("item", len(y)):
            pyro.sample(f"y{i}", dist.Normal(mu, 1.0), obs=y[i])

    idata = to_arviz(AutoNormal(model), model, data[:2], num_samples=3)
    assert set(idata["log_likelihood"]) == {"y0", "y1"}
    assert float(idata["observed_data"]["y1"].squeeze()) == data[1]


def test_a_reparametrised_site_is_computed_not_data(data, conjugate):
    model = poutine.reparam(conjugate, config={"mu": LocScaleReparam(0.0)})
    idata = to_arviz(AutoNormal(model), model, data, num_samples=3)
    assert set(idata["posterior"]) == {"mu", "mu_decentered"}
    assert set(idata["observed_data"]) == {"y"}


def test_factors_are_no_data(groups_of):
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("well", -(x**4))

    idata = to_arviz(AutoNormal(model), model, num_samples=3)
    assert groups_of(idata) == {"posterior", "prior"}


def test_one_value_for_a_plate_is_data_for_each_of_its_items():
    def model():
        with pyro.plate("item", 3):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(0.0))

    idata = to_arviz(AutoNormal(model), model, num_samples=3)
    assert dict(idata["observed_data"]["y"].sizes) == {"item": 3}
    assert idata["log_likelihood"]["y"].dims == ("chain", "draw", "item")


def test_draws_of_the_wrong_shape(data, conjugate):
    with pytest.raises(ValueError, match=r"'mu' .* \(chain, draw\) \+ \(\), .* \+ \(1,\)"):
        to_arviz({"mu": torch.zeros(2, 5, 1)}, conjugate, data)


def test_draws_of_an_unknown_site(data, conjugate):
    draws = {"mu": torch.zeros(2, 5), "nu": torch.zeros(2, 5)}
    with pytest.raises(ValueError, match=r"draws of \['nu'\], .* model are \['mu'\]"):
        to_arviz(draws, conjugate, data)


def test_draws_of_data(data, conjugate):
    draws = {"mu": torch.zeros(2, 5), "y": torch.zeros(2, 5, 6)}
    with pytest.raises(ValueError, match=r"draws of \['y'\]"):
        to_arviz(draws, conjugate, data)


def test_missing_draws(data, conjugate):
    with pytest.raises(ValueError, match="posterior has no draws of the latent site 'mu'"):
        to_arviz(lambda y: None, conjugate, data, num_samples=2)


def test_a_subsampled_plate(data, exact_guide):
    def model(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("time", len(y), subsample_size=2) as i:
            pyro.sample("y", dist.Normal(mu, 1.0), obs=y[i])

    # Draws and terms are those of all data, whatever a run by itself would take.
    idata = to_arviz(exact_guide, model, data, num_samples=2)
    mu, terms = idata["posterior"]["mu"].values, idata["log_likelihood"]["y"].values
    assert terms.shape == (1, 2, 6)
    exact = dist.Normal(torch.as_tensor(mu)[..., None], 1.0).log_prob(data)
    torch.testing.assert_close(torch.as_tensor(terms), exact)


def test_data_without_a_plate(data, exact_guide):
    def model(y):
        pyro.sample("y", dist.Normal(pyro.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    with pytest.raises(ValueError, match=r"'y' observes .* \(6,\), but .* \(\); put it in"):
        to_arviz(exact_guide, model, data, num_samples=2)
