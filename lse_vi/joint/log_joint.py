"""The log joint density of a Pyro model over one unconstrained vector, for many vectors at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pyro
import torch
from torch import Tensor

from lse_vi.joint.latents import still_values
from lse_vi.joint.runs import Plan, Program
from lse_vi.joint.torch_modes import FailedFactorsAreNaN
from lse_vi.numerics.linear_algebra import jacobian
from lse_vi.random.turns import taking_turns

Unpack = Callable[[Tensor], Iterator[tuple[Any, Tensor]]]
# Share of the draws at which the log joint may be NaN: single precision makes some in the neck of a
# funnel, where a scale underflows.
BROKEN = 0.01
HESSIAN_PIECE = 8  # times the memory of a gradient that a Hessian takes, roughly
APART = 0.1  # between the two vectors of trial runs, where only one is given


class LogJoint:
    r"""l(u) = log p(x(z), data) + log |dx/du|, with z = s + c u the unconstrained latents.

    The shift s and the scale c, (dim,), are zero and one until :meth:`in_units` sets them.

    Each latent site is transformed in the support that it has at that very vector, and discrete
    sites are summed out. The model runs under ``torch.vmap``: it sees one draw at a time, and needs
    no extra plates. A model that vmap cannot run (``.item()``, control flow that reads a latent
    value), or whose log joint differs under vmap, runs in an outermost plate if its batches are all
    plates, else once per draw, with a warning.

    Args:
        model: the Pyro model.
        unpack: splits a vector into (site, unconstrained value), as ``AutoContinuous`` does.
        args, kwargs: what the model is called with.

    Raises:
        ValueError: when called, if a plate is subsampled, ``unpack`` leaves out a latent site, or
            the log joint is not a function of the latents alone.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        unpack: Unpack,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.program = Program(model, unpack, args, kwargs)
        self.shift: Tensor | float = 0.0
        self.scale: Tensor | float = 1.0
        self.plan: Plan | None = None
        self._handling: AbstractContextManager[Any] = nullcontext()

    def in_units(self, shift: Tensor, scale: Tensor) -> LogJoint:
        """The log joint of u = (z - shift) / scale; both (dim,), of the coordinates as they are.

        Use it for latents of any scale: a search whose coordinates are of order one needs no
        tolerance in the model's units.
        """
        other = copy.copy(self)
        other.shift, other.scale = self.shift + self.scale * shift, self.scale * scale
        return other

    def follow(self, other: LogJoint, u: Tensor) -> None:
        """Spare the trial runs that ``other`` made, if its model and kind of arguments are ours.

        One run, at ``u`` (dim,), is left: it looks at what the values of arguments may change.
        """
        if other.plan is not None and self.program.is_like(other.program):
            self._handling = other._handling
            with self._model_at_work():
                self.plan = other.plan.again(self.program, self.shift + self.scale * u)

    @property
    def factors_fail(self) -> bool:
        """Whether a Cholesky factor of the model did not exist at some vector up to now."""
        return isinstance(self._handling, FailedFactorsAreNaN)

    def constrain(self, u: Tensor) -> dict[str, Tensor]:
        """Values of the model's sites at a vector ``u`` (dim,)."""
        return {name: value[0] for name, value in self.values(u.unsqueeze(0)).items()}

    def values(self, u: Tensor) -> dict[str, Tensor]:
        """Values of the model's sites, (*lead, *shape), at vectors ``u`` (*lead, dim)."""
        with self._model_at_work():
            z = (self.shift + self.scale * u).reshape(-1, u.shape[-1])
            if self._planned(z).moving:
                return self.placed(u)[0]
        return still_values(self.program.unpack, self.shift + self.scale * u)

    @torch.no_grad()
    def placed(self, u: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As :meth:`values`, with log |dx/dz| of each site and element, by runs of the model."""
        z = (self.shift + self.scale * u).reshape(-1, u.shape[-1])
        with self._model_at_work():
            if u.dim() == 1 and self.plan is None:  # trial runs would take longer than the run
                return self.program.placed(z[0])
            both = self._planned(z).placed(z)
        values, log_dets = (
            {name: x.reshape((*u.shape[:-1], *x.shape[1:])) for name, x in each.items()}
            for each in both
        )
        return values, log_dets

    @torch.no_grad()
    def unplaced(self, values: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """Unconstrained vectors (*lead, dim) at values (*lead, *shape) of the sites.

        Args:
            values: of all latent sites.
            like: some vector, (dim,), for trial runs.
        """
        with self._model_at_work():
            plan = self._planned(like.unsqueeze(0))
            shapes = {n: x.dim() for n, x in plan.program.still(like).items()}
            name, value = next(iter(values.items()))
            lead = value.shape[: value.dim() - shapes[name]]
            flat = {n: x.reshape(-1, *x.shape[len(lead) :]) for n, x in values.items()}
            return plan.unplaced(flat).reshape(*lead, -1)

    def __call__(self, u: Tensor) -> Tensor:
        """l in nats, (n,), at ``u`` (n, dim); differentiable."""
        return self.with_prior(u)[0]

    def with_prior(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """l and the log density of the prior, in nats, (n,) each, at ``u`` (n, dim).

        That of the prior is NaN where it is not known, see
        :func:`~lse_vi.joint.enumeration.prior_terms`, and not normalised if a prior is improper.
        """
        both = self._of_latents(self.shift + self.scale * u)
        if isinstance(self.scale, Tensor):
            both = both + self.scale.log().sum()
        return both[:, 0], both[:, 1]

    def _of_latents(self, z: Tensor) -> Tensor:
        """l and the log prior, (n, 2), with s = 0 and c = 1."""
        try:
            with self._model_at_work():
                value = self._planned(z)(z)
        except torch.linalg.LinAlgError:
            if self.factors_fail:
                raise
            # From now on, as the mode makes every call of torch slower.
            self._handling = FailedFactorsAreNaN()
            return self._of_latents(z)
        if self.factors_fail:
            broken = value[:, :1].isnan() & value.new_tensor([True, False]).bool()
            return value.masked_fill(broken, -torch.inf)
        return value

    def _planned(self, z: Tensor) -> Plan:
        """How the model is run; found out at the first vectors of all, (n, dim)."""
        if self.plan is None:
            ends = z[[0, -1]] if len(z) > 1 else torch.cat([z, z + APART])
            self.plan = Plan(self.program, ends.detach())
        return self.plan

    @contextmanager
    def _model_at_work(self) -> Iterator[None]:
        """Within, the model runs: in turns between threads, and without checks of arguments."""
        with taking_turns(), pyro.validation_enabled(False), self._handling:
            yield

    def value_and_gradient(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """l (n,) and its gradient (n, dim), at ``z`` (n, dim), in pieces that fit in memory."""
        pieces = [self._value_and_gradient(piece) for piece in self._pieces(z, 1)]
        value, gradient = zip(*pieces, strict=True)
        return torch.cat(value), torch.cat(gradient)

    def _pieces(self, z: Tensor, share: int) -> tuple[Tensor, ...]:
        """``z`` (n, dim) in pieces, each a ``share``-th of what fits in memory with gradients."""
        if self.plan is None:
            self(z[:1].detach())
        assert self.plan is not None
        return z.split(max(1, self.plan.piece // share))

    def _value_and_gradient(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """l (n,) and its gradient (n, dim)."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = self(z)
            gradient = _gradient(value, z)
        return value.detach(), gradient

    def gradients_with_prior(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """l (n,) and its gradient (n, dim), and the same of the log prior, at ``z`` (n, dim)."""
        pieces = []
        for piece in self._pieces(z, 1):
            with torch.enable_grad():
                u = piece.detach().requires_grad_()
                value, log_prior = self.with_prior(u)
                pull = _gradient(log_prior, u, again=True)
                score = _gradient(value, u)
            pieces.append((value.detach(), score, log_prior.detach(), pull))
        value, score, log_prior, pull = (torch.cat(each) for each in zip(*pieces, strict=True))
        return value, score, log_prior, pull

    def hessian(self, z: Tensor) -> Tensor:
        """Second derivatives (n, dim, dim) at ``z`` (n, dim).

        Rows in which autograd gives NaN or infinity are replaced by central differences of the
        gradient, which may be finite there: for example with torch's ``logaddexp`` far from where
        its two terms are equal.
        """
        pieces = self._pieces(z, HESSIAN_PIECE)
        hessian = torch.cat([self._autograd_hessian(piece) for piece in pieces])
        broken = ~hessian.isfinite().all(-1).all(-1)
        if bool(broken.any()):
            hessian[broken] = self._difference_hessian(z[broken])
        return hessian

    def _autograd_hessian(self, z: Tensor) -> Tensor:
        """Second derivatives by two passes of autograd."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            gradient = _gradient(self(z), z, graph=True)
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


def _gradient(value: Tensor, z: Tensor, *, again: bool = False, graph: bool = False) -> Tensor:
    """The gradient (n, dim) of values (n,) at ``z`` (n, dim); zero if they do not depend on it.

    Args:
        value, z: as above.
        again: whether another gradient will be taken of what ``value`` was computed from.
        graph: whether the gradient itself must be differentiable.
    """
    if not value.requires_grad:
        return torch.zeros_like(z)
    (gradient,) = torch.autograd.grad(
        value.sum(), z, retain_graph=again or graph, create_graph=graph
    )
    return gradient


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
