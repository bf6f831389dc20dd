"""Fits do not depend on what surrounds the call: gradients off, inference mode."""

import copy

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import lse_vi

X = np.concatenate([np.linspace(-3, -2, 12), np.linspace(1, 3, 12)])
QUICK = {"progress": False, "seed": 0}


def model(y):
    x = pyro.sample("x", dist.Normal(0.0, 3.0))
    pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)


def density():
    few = {"steps": 5, "restarts": 1, "polish": 2}
    fit = lse_vi.fit_density(torch.as_tensor(X) + 0.0, modes=1, hidden=(3,), **few, **QUICK)
    return fit.log_likelihood


def potential():
    pot = lse_vi.LSEICNN(1, 2, hidden=(3,))
    fit = lse_vi.fit_potential(pot, X, value=X**2, polish=2, restarts=1, **QUICK)
    return fit.error


def guide():
    made = lse_vi.AutoLSEICNN(model, modes=2, hidden=())
    y = torch.tensor(4.0) + 0.0  # under inference mode, a tensor that torch cannot train with
    fit = lse_vi.fit_guide(model, made, y, steps=20, samples=64, tolerance=1e-9, **QUICK)
    draws = lse_vi.sample_smc(model, made, y, draws=40, **QUICK)
    return torch.tensor([fit.elbo, draws.log_evidence])


def posterior():
    fit = lse_vi.fit_posterior(X, modes=1, hidden=(), draws=20, steps=10, **QUICK)
    chain = lse_vi.sample_posterior(fit, chains=1, draws=4, warmup=2, **QUICK)
    return chain.theta.flatten()


def memory():
    with torch.inference_mode(False):  # the model is made outside
        made = lse_vi.Elastic(lse_vi.LSEICNN(3, 1, hidden=(3,)), lse_vi.Isotropic())
    strain = 0.1 * torch.arange(6.0).reshape(1, 6, 1, 1) * torch.eye(3)
    for p in made.parameters():
        p.data.fill_(0.1)
    lse_vi.fit_memory(made, strain, 2 * strain, steps=3, progress=False)
    lse_vi.polish_memory(made, strain, 2 * strain, steps=2, progress=False)
    return copy.deepcopy(made.potential.log_rho.detach())


def hessian():
    with torch.inference_mode(False):
        pot = lse_vi.LSEICNN(1, 1, hidden=(), network=lse_vi.WhitenedICNN)
    return pot.hessian(torch.zeros(1, 1)).flatten()


@pytest.mark.parametrize("fit", [density, potential, guide, posterior, memory, hessian])
@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_a_fit_without_gradients_around_it_is_the_same(fit, around):
    expected = fit()
    with around():
        found = fit()
    assert torch.equal(torch.as_tensor(found), torch.as_tensor(expected))


def test_a_model_made_under_inference_mode_is_refused_by_name():
    with torch.inference_mode():
        made = lse_vi.Elastic(lse_vi.LSEICNN(3, 1, hidden=(3,)), lse_vi.Isotropic())
    strain = 0.1 * torch.arange(6.0).reshape(1, 6, 1, 1) * torch.eye(3)
    for fit in (lse_vi.fit_memory, lse_vi.polish_memory):
        with pytest.raises(ValueError, match=r"model must be made outside of torch\.inference"):
            fit(made, strain, strain, steps=2, progress=False)
