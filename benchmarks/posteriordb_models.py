"""Ten models of posteriordb in Pyro, each with the parameters that its reference draws have.

Magnusson et al. (2024), *posteriordb*. A model takes the data of its file as tensors by name. Its
parameters are sites, latent or deterministic; ``name[k]`` of a file is entry k - 1 of the site.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

Data = Mapping[str, Tensor]


def flat(
    name: str, size: int | None = None, support: constraints.Constraint | None = None
) -> Tensor:
    """A latent site with a flat prior over its support, a number or ``size`` numbers."""
    support = constraints.real if support is None else support
    event = torch.Size([] if size is None else [size])
    if size is not None:
        support = constraints.independent(support, 1)
    draw: Tensor = pyro.sample(name, dist.ImproperUniform(support, torch.Size(), event))
    return draw


def eight_schools_noncentered(data: Data) -> None:
    """Rubin's (1981) eight schools."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(torch.tensor(5.0)))
    z = pyro.sample("z", dist.Normal(torch.zeros(8), 1.0).to_event(1))
    theta = pyro.deterministic("theta", mu + tau * z)
    pyro.sample("y", dist.Normal(theta, data["sigma"]).to_event(1), obs=data["y"])


def linear(columns: Callable[[Data], list[Tensor]], response: str) -> Callable[[Data], None]:
    """A linear regression with flat priors."""

    def model(data: Data) -> None:
        x = torch.stack([torch.ones_like(data[response]), *columns(data)], -1)
        beta = flat("beta", x.shape[1])
        sigma = flat("sigma", support=constraints.positive)
        mean = (x * beta).sum(-1)
        pyro.sample("y", dist.Normal(mean, sigma).to_event(1), obs=data[response])

    return model


def gp_regr(data: Data) -> None:
    """A Gaussian process; the noise is added to the variance as it is."""
    rho = pyro.sample("rho", dist.Gamma(torch.tensor(25.0), torch.tensor(4.0)))
    alpha = pyro.sample("alpha", dist.HalfNormal(torch.tensor(2.0)))
    sigma = pyro.sample("sigma", dist.HalfNormal(torch.tensor(1.0)))
    square = (data["x"].unsqueeze(-1) - data["x"]).square()
    kernel = alpha**2 * torch.exp(-0.5 * square / rho**2)
    covariance = kernel + sigma * torch.eye(len(data["x"]))
    mean = torch.zeros(len(data["x"]))
    pyro.sample("y", dist.MultivariateNormal(mean, covariance), obs=data["y"])


def ark(data: Data) -> None:
    """An autoregression of order five."""
    y, order = data["y"], int(data["K"])
    alpha = pyro.sample("alpha", dist.Normal(0.0, 10.0))
    beta = pyro.sample("beta", dist.Normal(torch.zeros(order), 10.0).to_event(1))
    sigma = pyro.sample("sigma", dist.HalfCauchy(torch.tensor(2.5)))
    past = torch.stack([y[order - k - 1 : len(y) - k - 1] for k in range(order)], -1)
    mean = alpha + (past * beta).sum(-1)
    pyro.sample("obs", dist.Normal(mean, sigma).to_event(1), obs=y[order:])


def garch11(data: Data) -> None:
    """A volatility model; beta1 = (1 - alpha1) times a share, as its support ends at 1 - alpha1."""
    y = data["y"]
    mu = flat("mu")
    alpha0 = flat("alpha0", support=constraints.positive)
    alpha1 = flat("alpha1", support=constraints.unit_interval)
    share = flat("share", support=constraints.unit_interval)
    beta1 = pyro.deterministic("beta1", share * (1 - alpha1))
    pyro.factor("volume", torch.log1p(-alpha1))
    variance = [data["sigma1"] ** 2 * torch.ones_like(mu)]
    for before in y[:-1]:
        variance.append(alpha0 + alpha1 * (before - mu) ** 2 + beta1 * variance[-1])
    scale = torch.stack(variance, -1).sqrt()
    pyro.sample("obs", dist.Normal(mu, scale).to_event(1), obs=y)


def low_dim_gauss_mix(data: Data) -> None:
    """A mixture of two normals, whose labels can be swapped."""
    mu = pyro.sample("mu", dist.Normal(torch.zeros(2), 2.0).to_event(1))
    sigma = pyro.sample("sigma", dist.HalfNormal(2 * torch.ones(2)).to_event(1))
    theta = pyro.sample("theta", dist.Beta(torch.tensor(5.0), torch.tensor(5.0)))
    each = dist.Normal(mu, sigma).log_prob(data["y"].unsqueeze(-1))
    shares = torch.stack([theta.log(), torch.log1p(-theta)], -1)
    pyro.factor("y", torch.logsumexp(shares + each, -1).sum(-1))


def kilpisjarvi(data: Data) -> None:
    """A line through temperatures by year: intercept and slope are correlated by -0.9999."""
    alpha = pyro.sample("alpha", dist.Normal(data["pmualpha"], data["psalpha"]))
    beta = pyro.sample("beta", dist.Normal(data["pmubeta"], data["psbeta"]))
    sigma = flat("sigma", support=constraints.positive)
    pyro.sample("y", dist.Normal(alpha + beta * data["x"], sigma).to_event(1), obs=data["y"])


def hmm_example(data: Data) -> None:
    """Two hidden states, summed out; the means are ordered and positive."""
    theta1 = pyro.sample("theta1", dist.Dirichlet(torch.ones(2)))
    theta2 = pyro.sample("theta2", dist.Dirichlet(torch.ones(2)))
    low = flat("low", support=constraints.positive)
    gap = flat("gap", support=constraints.positive)
    mu = pyro.deterministic("mu", torch.stack([low, low + gap], -1))
    pyro.factor("prior", dist.Normal(torch.tensor([3.0, 10.0]), 1.0).log_prob(mu).sum(-1))
    log_step = torch.stack([theta1, theta2]).log()
    log_p = dist.Normal(mu, 1.0).log_prob(data["y"].unsqueeze(-1))
    log_alpha = log_p[0]
    for now in log_p[1:]:
        log_alpha = torch.logsumexp(log_alpha.unsqueeze(-1) + log_step, -2) + now
    pyro.factor("y", torch.logsumexp(log_alpha, -1))


def _mesquite(d: Data) -> list[Tensor]:
    names = ("diam1", "diam2", "canopy_height", "total_height", "density", "group")
    return [d[name] for name in names]


def _nes(d: Data) -> list[Tensor]:
    ages = [(d["age_discrete"] == k).to(d["income"]) for k in (2, 3, 4)]
    return [d["real_ideo"], d["race_adj"], *ages, d["educ1"], d["gender"], d["income"]]


MODELS: dict[str, Callable[[Data], None]] = {
    "arK": ark,
    "earn_height": linear(lambda d: [d["height"]], "earn"),
    "eight_schools_noncentered": eight_schools_noncentered,
    "garch11": garch11,
    "gp_regr": gp_regr,
    "hmm_example": hmm_example,
    "kilpisjarvi": kilpisjarvi,
    "low_dim_gauss_mix": low_dim_gauss_mix,
    "mesquite": linear(_mesquite, "weight"),
    "nes": linear(_nes, "partyid7"),
}
