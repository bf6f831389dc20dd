"""What a model must not do is refused with its cause, and never called improper."""

import re
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from lse_vi import AutoLSEICNN, fit_guide


def noisy_label():
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    with poutine.block(hide=["label"]):
        label = pyro.sample("label", dist.Bernoulli(0.5))
    pyro.sample("y", dist.Normal(x + label, 1.0), obs=torch.tensor(1.0))


def noise():
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(x + torch.randn(()), 1.0), obs=torch.tensor(1.0))


def drift(calls=[]):  # noqa: B006 (the fault that is looked for)
    calls.append(None)
    pyro.factor("drift", pyro.sample("x", dist.Normal(0.0, 1.0)) + len(calls))


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (noisy_label, "site 'label' is hidden by poutine.block"),
        (noise, r"outside of pyro.sample \(test_refusals.py, line \d+\)"),
        (drift, "it changes from run to run without a random draw of torch"),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_a_log_joint_that_is_no_function_of_the_latents(model, cause):
    with pytest.raises(ValueError, match=f"with the same values of all latents: .*{cause}"):
        fit_guide(model, AutoLSEICNN(model), progress=False)


def test_the_line_that_draws_is_named():
    with pytest.raises(ValueError, match="line") as error:
        AutoLSEICNN(noise).log_joint()(torch.zeros(2, 1))
    (line,) = re.findall(r"line (\d+)", str(error.value))
    assert "torch.randn" in Path(__file__).read_text().splitlines()[int(line) - 1]


def test_a_site_that_is_hidden_and_matters_not_is_no_fault():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        with poutine.block():
            pyro.sample("unused", dist.Normal(0.0, 1.0))
        pyro.factor("f", -(x**2))

    value = AutoLSEICNN(model).log_joint()(torch.zeros(2, 1))
    assert value.tolist() == pytest.approx(
        [float(dist.Normal(0.0, 1.0).log_prob(torch.zeros(())))] * 2
    )


def test_discrete_sites_without_a_list_of_values():
    def counts():
        pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("n", dist.Poisson(3.0))

    def batch():
        pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("k", dist.Bernoulli(torch.full((3,), 0.5)).to_event(1))

    for model, text in (
        (counts, r"site 'n' is discrete \(Poisson\)"),
        (batch, r"site 'k' is discrete \(Independent\).*pyro.plate in place of to_event"),
    ):
        with pytest.raises(ValueError, match=text):
            fit_guide(model, AutoLSEICNN(model), progress=False)
