r"""The ELBO of an energy-based guide, whose gradient is a covariance under the guide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from lse_vi.distribution.importance import LaplaceMixture
from lse_vi.distribution.rule import Method, Rule
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.guides.latent_sites import in_training
from lse_vi.joint.log_joint import LogJoint
from lse_vi.signatures.checked import checked


def rule_elbo(rule: Rule, energy: Tensor, log_joint: Tensor) -> Tensor:
    r"""The ELBO on an integration rule, differentiable in the parameters behind ``energy``.

    With points z_i of the rule, their weights v_i, and the probabilities w_i proportional to
    :math:`v_i e^{-E(z_i)}` with sum one,

    .. math:: \mathrm{ELBO} = \sum_i w_i (l_i + \log v_i - \log w_i).

    The normaliser of the w_i stands for that of the guide. The gradient is minus the covariance,
    under the guide, of l + E and the gradient of E. So it has little variance where the guide fits,
    since l + E is nearly constant there.

    Args:
        rule: exact draws or importance samples of the guide.
        energy: E at the points of the rule, (n,).
        log_joint: l at the points of the rule, in nats, (n,).
    """
    log_w = torch.log_softmax(rule.log_weights - energy, dim=0)
    return (log_w.exp() * (log_joint + rule.log_weights - log_w)).sum()


class EnergyELBO(Trace_ELBO):
    r"""A loss for ``SVI`` with :class:`~lse_vi.AutoLSEICNN` whose gradient has little variance.

    .. math:: \nabla_\theta \mathrm{KL}(q \| p) = \mathrm{Cov}_q(E + l, \nabla_\theta E)

    Use it to train the guide by Pyro's ``SVI``, for example together with parameters of the model;
    :func:`~lse_vi.fit_guide` needs less care. By default the points are self-normalised importance
    samples: their gradient is consistent, with a bias of order 1/n. ``method=ExactDraws(n)`` takes
    exact draws, whose gradient is on average 1 - 1/n times the true one. All points are evaluated
    at once. Points where the model has no density, beyond a hard edge or where a Cholesky factor
    does not exist, make the loss infinite, as the ELBO is minus infinity; they have no gradient.

    Args:
        method: makes the rule of points, :class:`~lse_vi.LaplaceMixture` by default.

    Raises:
        TypeError: when used with another guide than an :class:`~lse_vi.AutoLSEICNN`.
        ValueError: if the model has no density at any point.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> from pyro.infer import SVI
        >>> def model():
        ...     x = pyro.sample("x", dist.Normal(0.0, 3.0))
        ...     pyro.sample("y", dist.Normal(x**2, 1.0), obs=torch.tensor(4.0))
        >>> guide = AutoLSEICNN(model, modes=2)
        >>> svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), EnergyELBO(LaplaceMixture(256)))
        >>> isinstance(svi.step(), float)
        True
    """

    @checked
    def __init__(self, method: Method = LaplaceMixture(2048)) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.method = method
        self._last: tuple[Any, LogJoint] | None = None  # of the step before, with the guide's sites

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last": None}  # the model is often a closure, which has no pickle

    @checked
    def differentiable_loss(
        self, model: Callable[..., Any], guide: Any, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Minus the ELBO, a scalar tensor in nats, differentiable."""
        if not isinstance(guide, AutoLSEICNN):
            raise TypeError(
                f"guide must be an AutoLSEICNN for EnergyELBO, but got {type(guide).__name__}; "
                "train it with pyro.infer.Trace_ELBO"
            )
        if guide.prototype_trace is None:
            guide(*args, **kwargs)
        if in_training():
            guide.place_once(*args, **kwargs)
        with guide._pyro_context:  # registers the guide's parameters with SVI
            guide.claim_name()
            potential = guide.potential
        log_joint = LogJoint(model, guide._unpack_latent, args, kwargs)
        rule = self.method.rule(potential, None)
        if self._last is not None and self._last[0] is guide.prototype_trace:
            log_joint.follow(self._last[1], rule.points[0].detach())
        self._last = guide.prototype_trace, log_joint
        energy, value = potential(rule.points), log_joint(rule.points)
        dense = value.detach() != -torch.inf
        if bool(dense.all()):
            return -rule_elbo(rule, energy, value)
        if not bool(dense.any()):
            raise ValueError(
                f"model: the log joint is minus infinity at all {len(value)} points of the guide; "
                "check the data, and the supports of the model's sites"
            )
        # The bound is what it is; its gradient is that of the points with density.
        part = replace(rule, points=rule.points[dense], log_weights=rule.log_weights[dense])
        return torch.inf - rule_elbo(part, energy[dense], value[dense])

    @checked
    def loss(self, model: Callable[..., Any], guide: Any, *args: Any, **kwargs: Any) -> float:
        """Minus the ELBO, in nats."""
        with torch.no_grad():
            return float(self.differentiable_loss(model, guide, *args, **kwargs))

    @checked
    def loss_and_grads(
        self, model: Callable[..., Any], guide: Any, *args: Any, **kwargs: Any
    ) -> float:
        """Minus the ELBO, in nats; its gradient is added to those of the parameters."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        loss.backward()
        return float(loss.detach())
