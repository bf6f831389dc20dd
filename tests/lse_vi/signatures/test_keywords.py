"""Whose is a keyword: the model's, if the model names it; else a setting's."""

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import config_enumerate
from pyro.nn import PyroModule

from lse_vi import AutoLSEICNN, ExportSettings, GuideRecipe, fit_guide, to_arviz
from lse_vi.signatures.keywords import argument_names, settle


def model(y, seed, *, steps=3, prior=0.0):
    x = pyro.sample("x", dist.Normal(prior + 0.1 * seed, 1.0))
    for i in range(steps):
        pyro.sample(f"y_{i}", dist.Normal(x, 1.0), obs=y)


class Module(PyroModule):
    def forward(self, y, samples): ...

    def other(self, tolerance): ...


NAMES = ["y", "seed", "steps", "prior"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (model, NAMES),
        (poutine.block(model, hide=["x"]), NAMES),
        (poutine.condition(poutine.block(model, hide=["x"]), data={}), NAMES),
        (config_enumerate(model), NAMES),
        (functools.partial(model, 1.0), NAMES[1:]),
        (functools.partial(model, 1.0, 2), NAMES[2:]),
        (functools.partial(model, seed=1), ["y", "steps", "prior"]),
        (functools.partial(poutine.block(model, hide=["x"]), seed=1), ["y", "steps", "prior"]),
        (Module(), ["y", "samples"]),
        (Module().other, ["tolerance"]),
        (poutine.block(Module(), hide=["x"]), ["y", "samples"]),
        (lambda *args, **kwargs: None, []),
    ],
)
def test_names_are_found_through_what_models_are_wrapped_in(form, expected):
    assert argument_names(form) == expected


def test_a_name_that_is_given_by_its_position_is_free_again():
    _, own = settle("recipe", GuideRecipe, None, model, (1.0,), {"seed": 3})
    assert own == {"seed": 3}
    recipe, own = settle("recipe", GuideRecipe, None, model, (1.0, 2), {"seed": 3})
    assert recipe.seed == 3
    assert own == {}


def test_settings_in_an_object_and_by_name_go_together():
    recipe, own = settle(
        "recipe", GuideRecipe, GuideRecipe(seed=7), model, (1.0,), {"seed": 3, "samples": 64}
    )
    assert (recipe.seed, recipe.samples, own) == (7, 64, {"seed": 3})
    with pytest.raises(TypeError, match=r"recipe must be of GuideRecipe, but got \{'seed': 1\}"):
        settle("recipe", GuideRecipe, {"seed": 1}, model, (), {})


def test_arguments_of_the_model_reach_it_and_settings_the_fit():
    """x ~ N(prior + seed / 10, 1), ``steps`` data of 1: the posterior is known for every choice."""
    y = torch.tensor(1.0)
    guide = AutoLSEICNN(model, modes=1, hidden=())
    res = fit_guide(
        model, guide, y, seed=2, steps=2, prior=torch.tensor(0.5), samples=256, progress=False,
        recipe=GuideRecipe(steps=5, seed=11),
    )  # fmt: skip
    mean = (0.7 + 2 * 1.0) / 3
    assert float(guide.median(y, seed=2, steps=2)["x"]) == pytest.approx(mean, abs=0.02)
    covariance = torch.ones(2, 2) + torch.eye(2)
    law = torch.distributions.MultivariateNormal(torch.full((2,), 0.7), covariance)
    assert res.log_evidence == pytest.approx(float(law.log_prob(torch.ones(2))), abs=1e-3)
    assert res.history["step"][-1] < 5

    idata = to_arviz(
        guide, model, y, seed=2, steps=2, prior=torch.tensor(0.5), num_samples=30,
        settings=ExportSettings(prior=False, seed=1),
    )  # fmt: skip
    assert set(idata["log_likelihood"]) == {"y_0", "y_1"}
    assert idata["posterior"].sizes["draw"] == 30
    assert idata.posterior.attrs["seed"] == 1
    assert "prior" not in idata
