"""The log joint density of a Pyro model over one unconstrained vector, for many vectors at once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import sum_rightmost
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import biject_to

from lse_vi.joint.torch_modes import FailedFactorsAreNaN, Largest
from lse_vi.numerics.jacobian import jacobian
from lse_vi.random.turns import taking_turns

Unpack = Callable[[Tensor], Iterator[tuple[Any, Tensor]]]
# Vectors evaluated at once, at most, and the numbers in the largest array of one evaluation, 8 MB:
# larger ones do not fit in the cache, and take up to four times as long.
CHUNK_VECTORS, CHUNK_NUMBERS = 8192, 2**20
# Tolerance, absolute and relative, of the log joint under vmap: above rounding in single precision,
# below any real difference between the two runs.
VMAP_TOLERANCE = 1e-3
# Share of the draws at which the log joint may be NaN: single precision makes some in the neck of a
# funnel, where a scale underflows, and so does a Cholesky factor that fails.
BROKEN = 0.01


class LogJoint:
    r"""l(u) = log p(x(z), data) + log |dx/du|, with z = s + c u the unconstrained latents.

    The shift s and the scale c, (dim,), are zero and one until :meth:`in_units` sets them.

    The model runs under ``torch.vmap``: it sees one draw at a time, and needs no extra plates or
    broadcasting. A model that vmap cannot run (``.item()``, control flow that reads a latent
    value), or whose log joint differs under vmap, runs once per draw, with a warning.

    Args:
        model: the Pyro model.
        unpack: splits a vector into (site, unconstrained value), as ``AutoContinuous`` does.
        args, kwargs: what the model is called with.

    Raises:
        ValueError: when called, if a plate is subsampled or ``unpack`` leaves out a latent site.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        unpack: Unpack,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.model, self.unpack, self.args, self.kwargs = model, unpack, args, kwargs
        self.shift: Tensor | float = 0.0
        self.scale: Tensor | float = 1.0
        self._vectorised: bool | None = None
        self._chunk = CHUNK_VECTORS
        self._handling: AbstractContextManager[Any] = nullcontext()

    def in_units(self, shift: Tensor, scale: Tensor) -> LogJoint:
        """The log joint of u = (z - shift) / scale; both (dim,), of the coordinates as they are.

        Use it for latents of any scale: a search whose coordinates are of order one needs no
        tolerance in the model's units.
        """
        other = copy.copy(self)
        other.shift, other.scale = self.shift + self.scale * shift, self.scale * scale
        return other

    def constrain(self, u: Tensor) -> dict[str, Tensor]:
        """Values of the model's sites at a vector ``u`` (dim,)."""
        return constrain(self.unpack, self.shift + self.scale * u)

    def __call__(self, u: Tensor) -> Tensor:
        """l in nats, (n,), at ``u`` (n, dim); differentiable."""
        z = self.shift + self.scale * u
        if isinstance(self.scale, Tensor):
            return self._of_latents(z) + self.scale.log().sum()
        return self._of_latents(z)

    def _of_latents(self, z: Tensor) -> Tensor:
        """l with s = 0 and c = 1."""
        try:
            with taking_turns(), pyro.validation_enabled(False), self._handling:
                return self._run(z)
        except torch.linalg.LinAlgError:
            if isinstance(self._handling, FailedFactorsAreNaN):
                raise
            # From now on, as the mode makes every call of torch slower.
            self._handling = FailedFactorsAreNaN()
            return self._of_latents(z)

    def _run(self, z: Tensor) -> Tensor:
        """l of all vectors at once, if vmap can run the model."""
        if self._vectorised is None:
            self._vectorised = self._can_vectorise(z[:1])
        if self._vectorised:
            return torch.vmap(self._one, chunk_size=self._chunk)(z)
        return torch.stack([self._one(row) for row in z])

    def value_and_gradient(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """l (n,) and its gradient (n, dim), at ``z`` (n, dim)."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = self(z)
            (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient

    def hessian(self, z: Tensor) -> Tensor:
        """Second derivatives (n, dim, dim) at ``z`` (n, dim).

        Rows in which autograd gives NaN or infinity are replaced by central differences of the
        gradient, which may be finite there: for example with torch's ``logaddexp`` far from where
        its two terms are equal.
        """
        hessian = self._autograd_hessian(z)
        broken = ~hessian.isfinite().all(-1).all(-1)
        if bool(broken.any()):
            hessian[broken] = self._difference_hessian(z[broken])
        return hessian

    def _autograd_hessian(self, z: Tensor) -> Tensor:
        """Second derivatives by two passes of autograd."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self(z).sum(), z, create_graph=True)
            if not gradient.requires_grad:  # l is linear
                return z.new_zeros(*z.shape, z.shape[-1])
            return jacobian(gradient, z)

    def _difference_hessian(self, z: Tensor) -> Tensor:
        """Second derivatives by central differences of the gradient."""
        n, dim = z.shape
        # The cube root of eps balances truncation (order step^2) and rounding (order eps/step).
        step = torch.finfo(z.dtype).eps ** (1 / 3) * z.abs().clamp_min(1.0)  # (n, dim)
        shift = torch.diag_embed(step)  # (n, dim, dim)
        points = torch.stack([z.unsqueeze(1) + shift, z.unsqueeze(1) - shift])
        gradient = self.value_and_gradient(points.reshape(-1, dim))[1].reshape(2, n, dim, dim)
        hessian = (gradient[0] - gradient[1]) / (2 * step.unsqueeze(-1))
        return 0.5 * (hessian + hessian.mT)

    def _sites(self, z: Tensor) -> Iterator[tuple[Any, Tensor, Tensor]]:
        """(site, constrained value, log |dx/dz|) of each site, for one vector."""
        for site, unconstrained in self.unpack(z):
            transform = biject_to(site["fn"].support)
            value = transform(unconstrained)
            log_det = transform.log_abs_det_jacobian(unconstrained, value)
            yield site, value, sum_rightmost(log_det, log_det.dim())

    def _one(self, z: Tensor) -> Tensor:
        """l, a scalar, at one vector ``z`` (dim,)."""
        sites = list(self._sites(z))
        values = {site["name"]: value for site, value, _ in sites}
        # Parameters of the model stay visible, so that SVI can train them.
        with poutine.block(hide_types=["sample"]), poutine.condition(data=values):
            trace = poutine.trace(self.model).get_trace(*self.args, **self.kwargs)
        _check(trace)
        return trace.log_prob_sum() + sum(log_det for *_, log_det in sites)

    def _can_vectorise(self, z: Tensor) -> bool:
        """Whether vmap can run the model, with the same log joint as a plain run."""
        with Largest() as largest:
            plain = self._one(z[0])
        self._chunk = min(max(1, CHUNK_NUMBERS // largest.numbers), CHUNK_VECTORS)
        try:
            mapped = torch.vmap(self._one)(z)[0]
        except RuntimeError as error:
            what, why = "cannot run", str(error).splitlines()[0]
        else:
            close = {"rtol": VMAP_TOLERANCE, "atol": VMAP_TOLERANCE}
            if bool(torch.isclose(plain, mapped, equal_nan=True, **close)):
                return True
            what = "comes out differently"
            why = f"its log joint is {float(mapped):.6g} there, but {float(plain):.6g} by itself"
        warnings.warn(
            f"the model {what} under torch.vmap, so it runs once per draw, which is slow: {why}",
            stacklevel=3,
        )
        return False


def without_nan(value: Tensor) -> Tensor:
    """``value`` of l at draws of a guide (n,), minus infinity where it is NaN: those weigh nothing.

    Raises:
        ValueError: if it is NaN at more than 1 % of the draws.
    """
    broken = value.isnan()
    if float(broken.double().mean()) > BROKEN:
        raise ValueError(
            f"model: the log joint is NaN at {int(broken.sum())} of {len(value)} draws of the guide"
        )
    return value.masked_fill(broken, -torch.inf)


def constrain(unpack: Unpack, z: Tensor) -> dict[str, Tensor]:
    """Values of the model's sites at an unconstrained vector ``z`` (dim,)."""
    return {site["name"]: biject_to(site["fn"].support)(value) for site, value in unpack(z)}


def check_whole(name: str, site: Any) -> None:
    """No plate around a site may be subsampled: l would change with every evaluation."""
    for frame in site["cond_indep_stack"]:
        if frame.full_size is not None and frame.size < frame.full_size:
            raise ValueError(
                f"model: plate {frame.name!r} around site {name!r} is subsampled, {frame.size} of "
                f"{frame.full_size}; the posterior needs all data at once. Run it without "
                "subsampling; only SVI with Trace_ELBO can train a guide on subsamples"
            )


def _check(trace: Trace) -> None:
    """No plate may be subsampled, and the guide must cover every latent site."""
    for name, site in trace.nodes.items():
        if site["type"] != "sample":
            continue
        check_whole(name, site)
        if not site["is_observed"] and not site_is_subsample(site):
            raise ValueError(
                f"model: site {name!r} is latent, but the guide does not cover it; a guide for a "
                "part of a model can only be trained by SVI with Trace_ELBO"
            )
