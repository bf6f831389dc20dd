"""Runs of a model: drawn from the guide and the prior, in a loop and at once."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from lse_vi.arviz_export.export import to_arviz

modes_of_running = pytest.mark.parametrize("parallel", [False, True], ids=["loop", "plate"])


@modes_of_running
def test_the_guide_and_the_prior_are_drawn_from(parallel, data, conjugate, exact_guide):
    idata = to_arviz(exact_guide, conjugate, data, num_samples=1500, parallel=parallel)
    mean, sd = float(data.sum() / 7), 7**-0.5
    within = 5 / 1500**0.5  # five standard errors of a mean
    assert float(idata["posterior"]["mu"].mean()) == pytest.approx(mean, abs=within * sd)
    assert float(idata["posterior"]["mu"].std()) == pytest.approx(sd, rel=within)
    assert float(idata["prior"]["mu"].std()) == pytest.approx(1.0, rel=within)
    predicted, imagined = (idata[f"{group}_predictive"]["y"] for group in ("posterior", "prior"))
    assert predicted.mean("draw").values == pytest.approx(mean, abs=within * (1 + sd))
    assert predicted.std("draw").values == pytest.approx((1 + sd**2) ** 0.5, rel=within)
    assert imagined.std("draw").values == pytest.approx(2**0.5, rel=within)


def test_predictions_follow_their_own_past_not_the_data():
    def walk(y):
        last = pyro.sample("start", dist.Normal(0.0, 1e-3))
        for i in range(3):
            last = pyro.sample(f"y{i}", dist.Normal(last, 1.0), obs=y[i])

    start = {"start": torch.zeros(1, 1000)}
    idata = to_arviz(start, walk, torch.full((3,), 50.0), prior=False)
    predicted = idata["posterior_predictive"]
    variances = [float(predicted[f"y{i}"].var()) for i in range(3)]
    assert variances == pytest.approx([1.0, 2.0, 3.0], rel=0.25)
    assert float(predicted["y2"].mean()) == pytest.approx(0.0, abs=0.5)


def test_computed_sites_keep_their_value_in_predictions(data, exact_guide):
    # poutine.uncondition would redraw a deterministic site, and in a plate mis-shape it.
    idata = to_arviz(exact_guide, doubled, data, num_samples=4)
    assert dict(idata["prior_predictive"]["y"].sizes) == {"chain": 1, "draw": 4, "time": 6}
    assert np.array_equal(
        idata["prior"]["double"], 2 * idata["prior"]["mu"].expand_dims(time=6, axis=-1)
    )


def doubled(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("time", len(y)):
        double = pyro.deterministic("double", (2 * mu).expand(len(y)))
        pyro.sample("y", dist.Normal(double, 1.0), obs=y)


def test_a_model_takes_keyword_arguments(data, conjugate):
    def model(y, scale):
        with poutine.scale(scale=scale):
            conjugate(y)

    draws = {"mu": torch.randn(1, 3)}
    one, two = (to_arviz(draws, model, data, scale=s, prior=False) for s in (1.0, 2.0))
    assert np.array_equal(two["log_likelihood"]["y"], 2 * one["log_likelihood"]["y"])


@pytest.mark.parametrize(
    ("total", "message"),
    [
        (lambda mu: mu.sum(), "'total' comes out differently"),  # sums over draws too
        (lambda mu: mu[0], r"'total' comes with shape \(2,\)"),  # the first draw, not entry
    ],
)
def test_a_model_that_is_not_vectorised(total, message):
    def model():
        mu = pyro.sample("mu", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.deterministic("total", total(mu))

    draws = {"mu": torch.randn(2, 5, 2)}
    assert "total" in to_arviz(draws, model).posterior
    with pytest.raises(ValueError, match=f"parallel: site {message}.*parallel=False"):
        to_arviz(draws, model, parallel=True)
