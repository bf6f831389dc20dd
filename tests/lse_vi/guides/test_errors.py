"""Models, data and options that a guide refuses, by name."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from pyro.infer.autoguide import AutoNormal, init_to_value

import lse_vi.guides.training
from lse_vi import AutoLSEICNN, EnergyELBO, LaplaceMixture, NonFiniteLossError, fit_guide


def test_discrete_latents():
    def model():
        pyro.sample("k", dist.Poisson(0.5))
        pyro.sample("x", dist.Normal(0.0, 1.0))

    with pytest.raises(ValueError, match=r"site 'k' is discrete \(Poisson\) and its values cannot"):
        fit_guide(model, AutoLSEICNN(model), progress=False)


def test_no_latents():
    def model():
        pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(1.0))

    with pytest.raises(RuntimeError, match="no latent variables"):
        fit_guide(model, AutoLSEICNN(model), progress=False)


@pytest.mark.parametrize("checked", [True, False])
def test_a_start_where_a_matrix_is_not_positive_definite(checked):
    def model():
        a = pyro.sample("a", dist.Normal(2.0, 1.0))
        covariance = torch.eye(2) + a * torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(2), covariance), obs=torch.zeros(2))

    start = init_to_value(values={"a": torch.tensor(0.5)})
    with pyro.validation_enabled(checked):
        with pytest.raises(ValueError, match=r"where the guide starts.*init_loc_fn.*It says"):
            AutoLSEICNN(model)()
        assert AutoLSEICNN(model, init_loc_fn=start)()["a"].shape == ()


def test_nan_everywhere(square):
    with pytest.raises(ValueError, match=r"NaN or infinite at all 512 starts.*check the data"):
        fit_guide(square, AutoLSEICNN(square), torch.tensor(math.nan), progress=False)


def test_nan_within_the_guide():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("hole", torch.where((x - 1).abs() < 0.3, math.nan, 0.0))

    with pytest.raises(ValueError, match=r"the log joint is NaN at \d+ of \d+ draws of the guide"):
        fit_guide(model, AutoLSEICNN(model, modes=1), progress=False)


def test_an_unbounded_joint():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("away", x**2)

    with pytest.raises(ValueError, match=r"unbounded.*give every latent variable a proper"):
        fit_guide(model, AutoLSEICNN(model), progress=False)


def test_a_latent_in_a_subsampled_plate():
    def model(y):
        with pyro.plate("data", len(y), subsample_size=2) as i:
            mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(mu, 1.0), obs=y[i])

    with pytest.raises(ValueError, match=r"plate 'data' around site 'mu' is subsampled, 2 of 6"):
        fit_guide(model, AutoLSEICNN(model), torch.zeros(6), progress=False)


def test_the_energy_elbo_of_another_guide(square, nine):
    svi = SVI(square, AutoNormal(square), pyro.optim.Adam({"lr": 0.01}), EnergyELBO())
    with pytest.raises(TypeError, match=r"must be an AutoLSEICNN .* but got AutoNormal; .*Trac"):
        svi.step(nine)


def test_a_loss_that_is_not_finite(monkeypatch, square, nine):
    monkeypatch.setattr(
        lse_vi.guides.training,
        "rule_elbo",
        lambda rule, energy, log_joint: energy.sum() * 1e400,
    )
    with pytest.raises(NonFiniteLossError, match="step 0"):
        fit_guide(square, AutoLSEICNN(square, modes=2), nine, tolerance=1e-6, progress=False)


def test_a_guide_of_another_kind_or_model(square, nine):
    with pytest.raises(TypeError, match="guide must be an AutoLSEICNN, but got function"):
        fit_guide(square, square, nine)
    with pytest.raises(ValueError, match="model must be the one that the guide was made for"):
        fit_guide(lambda y: square(y), AutoLSEICNN(square), nine)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"modes": 0}, "modes must be at least 1"),
        ({"hidden": (0,)}, "hidden"),
        ({"init_scale": -1.0}, "init_scale must be"),
    ],
)
def test_options_of_the_guide(options, text, square):
    with pytest.raises(ValueError, match=text):
        AutoLSEICNN(square, **options)


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"samples": 1}, {"learning_rate": 0.0}, {"tolerance": -1.0}],
    ids=lambda o: next(iter(o)),
)
def test_options_of_the_fit(options, square, nine):
    with pytest.raises(ValueError, match=next(iter(options))):
        fit_guide(square, AutoLSEICNN(square), nine, **options)


def test_another_checkpoint(tmp_path, square, nine):
    path = tmp_path / "fit"
    guide = AutoLSEICNN(square, modes=2)
    fit_guide(square, guide, nine, steps=20, progress=False, checkpoint=path)
    again = {"steps": 20, "progress": False, "checkpoint": path}
    with pytest.raises(ValueError, match=r"another fit \(different: data"):
        fit_guide(square, guide, nine + 1, **again)
    with pytest.raises(ValueError, match=r"another fit \(different: settings\)"):
        fit_guide(square, guide, nine, tolerance=1e-2, **again)
    for changed in ({"init_scale": 0.2}, {"method": LaplaceMixture(512)}):
        with pytest.raises(ValueError, match=r"another fit \(different: settings\)"):
            fit_guide(square, AutoLSEICNN(square, modes=2, **changed), nine, **again)
    with pytest.raises(ValueError, match="checkpoint: an argument of type object"):
        fit_guide(square, guide, object(), **again)


def test_a_checkpoint_of_other_data_in_a_long_array(tmp_path):
    """Its printed form is abbreviated, and says nothing of most entries."""

    def model(y):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(x, 1.0), obs=torch.as_tensor(y))

    guide, y = AutoLSEICNN(model, modes=1), np.zeros(2000)
    quick = {"steps": 20, "progress": False, "checkpoint": tmp_path / "fit"}
    fit_guide(model, guide, y, **quick)
    y[1000] = 1.0
    with pytest.raises(ValueError, match=r"another fit \(different: data"):
        fit_guide(model, guide, y, **quick)
