"""The density of a potential, as a Pyro distribution that can be normalised and sampled exactly."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from lse_vi.checks import check_count, check_object, shown
from lse_vi.distribution.bounds import UpperBound, upper_bound
from lse_vi.distribution.box import Box
from lse_vi.distribution.importance import MomentMixture
from lse_vi.distribution.quadrature import Quadrature
from lse_vi.distribution.rejection import rejection_sample
from lse_vi.distribution.rule import Method, Rule
from lse_vi.distribution.wrapping import check_wrapped, lowest, rule_of
from lse_vi.network.circle import apart, mean_around, wrapped
from lse_vi.network.icnn import WhitenedICNN, whitened
from lse_vi.network.potential import LSEICNN
from lse_vi.signatures.checked import checked

# The ways to find log Z, as errors name them.
METHODS = "Quadrature(), MomentMixture(), LaplaceMixture() or Envelope()"


class LSEDensity(TorchDistribution):
    r"""q(x) = exp(-E(x)) / Z of an LSE-ICNN potential E.

    Use it to evaluate or sample a potential as a density, alone or in a Pyro model. (The paper's
    Eq. 20 has the sign of E reversed.) It is integrable by construction: either the modes are
    strongly convex (:class:`~lse_vi.WhitenedICNN`), or the support is a box. ``log_prob`` is
    normalised, and its gradient includes the gradient of log Z; ``sample`` is exact, by rejection
    from an upper bound that follows from convexity. There is no ``rsample``.

    Where the potential is periodic, the density is that on the circle: it integrates to one over a
    period, and ``sample`` gives values in [-P/2, P/2).

    The distribution reads the potential's parameters when it is first used, like any
    ``torch.distributions`` object: after an optimiser step, build it anew. Where the potential is
    not trained any more (under NUTS, say), ``potential.requires_grad_(False)`` makes ``log_prob``
    much faster, as log Z is then found only once.

    Args:
        potential: the potential E, of any ``batch_shape``.
        bounds: (low, high), each a number or ``dim`` numbers; a side may be None where x is open,
            as (0, None) for what is positive. None for all of R^d.
        method: how log Z is found: :class:`~lse_vi.Quadrature` (the default in 1-2 dimensions),
            :class:`~lse_vi.MomentMixture` (the default beyond), :class:`~lse_vi.LaplaceMixture` or
            :class:`~lse_vi.Envelope`.

    Raises:
        TypeError: for a potential that is no :class:`LSEICNN`, or a method that has no ``rule``.
        ValueError: for plain modes without bounds, or with bounds in more than two dimensions; for
            a periodic potential with bounds or another rho than one.

    Example:
        >>> pot = LSEICNN(2, 3, rho=1.0, network=WhitenedICNN)
        >>> q = LSEDensity(pot)
        >>> q.sample((5,)).shape, q.log_prob(torch.zeros(5, 2)).shape, q.mode_weights.shape
        (torch.Size([5, 2]), torch.Size([5]), torch.Size([3]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False

    @checked
    def __init__(
        self,
        potential: LSEICNN,
        bounds: Any = None,
        *,
        method: Method | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(potential, LSEICNN):
            raise TypeError(f"potential must be an LSEICNN, but got {type(potential).__name__}")
        if method is not None:
            check_object("method", method, "rule", METHODS)
        dim = potential.dim
        if not isinstance(potential.network, WhitenedICNN):
            if bounds is None:
                raise ValueError(
                    "bounds: plain ICNN modes need not grow at infinity, so their density needs "
                    "bounds=(low, high); or build the potential with network=WhitenedICNN"
                )
            if dim > 2:
                raise ValueError(
                    f"potential: plain ICNN modes on a box are exact in 1 or 2 dimensions, but "
                    f"this potential has {dim}; build it with network=WhitenedICNN"
                )
        if potential.units.turn is not None:
            check_wrapped(potential, bounds)
        given, potential = potential, potential.absorbed()  # the same, unless it has units
        self.potential = potential
        self.box = None if bounds is None else Box.of(bounds, dim, potential.alpha)
        if self.box is not None and not self.box.finite:
            whitened(potential.network, "bounds with an open side")
        self.method = method or (Quadrature() if dim <= 2 else MomentMixture())
        self._rule: Rule | None = None
        self._bound: UpperBound | None = None
        self._log_z: Tensor | None = None
        self._mixed = self.potential is not given
        super().__init__(potential.batch_shape, Size((dim,)), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """The box, or R^d."""
        if self.box is None:
            return constraints.real_vector
        # torch's constraint below a wall leaves out the wall, which belongs to the box.
        above = torch.nextafter(self.box.high, torch.full_like(self.box.high, torch.inf))
        high = torch.where(self.box.low.isinf(), above, self.box.high)
        ends = zip(self.box.low.tolist(), high.tolist(), strict=True)
        sides = [_between(*pair) for pair in ends]
        if self.box.finite:
            return constraints.independent(constraints.interval(self.box.low, self.box.high), 1)
        return constraints.independent(constraints.cat(sides, dim=-1), 0)

    def expand(self, batch_shape: Any, _instance: Any = None) -> LSEDensity:
        """The same density with a larger ``batch_shape``, for plates; the rule for log Z is shared.

        Raises:
            ValueError: if ``batch_shape`` is not one that the own batch shape broadcasts to.
        """
        batch_shape = Size(batch_shape)
        try:
            fits = torch.broadcast_shapes(self.batch_shape, batch_shape) == batch_shape
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"batch_shape must be one that {tuple(self.batch_shape)} broadcasts to, "
                f"but got {tuple(batch_shape)}"
            )
        new = self._get_checked_instance(LSEDensity, _instance)
        new.potential, new.box, new.method = self.potential, self.box, self.method
        new._mixed = self._mixed
        new._rule, new._bound, new._log_z = self.rule, self._bound, self._log_z
        super(LSEDensity, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def rule(self) -> Rule:
        """The integration rule for exp(-E), found at the first use: weighted points."""
        if self._rule is None:
            self._rule = rule_of(self.method, self.potential, self.box)
        return self._rule

    @property
    def log_normalizer(self) -> Tensor:
        """log Z, (*batch,), with its gradient -E_q[dE] wherever gradients are recorded."""
        needed = torch.is_grad_enabled() and any(
            p.requires_grad for p in self.potential.parameters()
        )
        if needed:
            return self.rule.log_normalizer(self.potential).expand(self.batch_shape)
        if self._log_z is None:
            self._log_z = self.rule.log_normalizer(self.potential).detach()
        return self._log_z.expand(self.batch_shape)

    @property
    def log_normalizer_error(self) -> Tensor:
        """Error of log Z, (*batch,): a quadrature's last change, the deviation of samples."""
        return self.rule.error.expand(self.batch_shape)

    @property
    def mode_weights(self) -> Tensor:
        """Mass of each mode, E_q[r_k], (*batch, modes); for rho = 1, s_k Z_k over their sum."""
        return self.rule.mode_weights(self.potential).expand(*self.batch_shape, -1)

    @property
    def mean(self) -> Tensor:
        """E_q[x], (*batch, dim); of an angle the circular mean, in [-P/2, P/2]."""
        return self._mean().expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """E_q[(x - mean)^2], (*batch, dim); of an angle, of the distance by the shorter way."""
        period = self.potential.units.period.to(self.rule.points)
        gaps = apart(self._mean(), self.rule.points, period)
        mass = self.rule.probabilities(self.potential).unsqueeze(-1)
        return (mass * gaps**2).sum(0).expand(self._extended_shape())

    def _mean(self) -> Tensor:
        mass = self.rule.probabilities(self.potential)
        return mean_around(mass, self.rule.points, self.potential.units.period)

    def log_prob(self, value: Tensor) -> Tensor:
        """log q(x), normalised: (*sample, *batch, dim) -> (*sample, *batch); -inf off the box."""
        if self._validate_args:
            if isinstance(value, Tensor) and value.shape[-1:] != self.event_shape:
                raise ValueError(
                    f"value must have shape (*sample, *batch, {self.event_shape[0]}), but got "
                    f"{tuple(value.shape)}; x.unsqueeze(-1) makes points of numbers"
                )
            self._validate_sample(value)
        # A potential with units, such as a fitted one, takes points of any precision, and others
        # those of a lower one than their own, of which nothing is lost.
        own = self.potential.alpha.dtype
        if self._mixed or torch.promote_types(value.dtype, own) == own:
            value = value.to(own)
        log_q = -self.potential(value) - self.log_normalizer
        if self.box is not None:
            log_q = log_q.masked_fill(~self.box.contains(value), -torch.inf)
        return log_q

    @checked
    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Exact draws, (*sample, *batch, dim)."""
        if not isinstance(sample_shape, (tuple, list)):
            raise TypeError(
                f"sample_shape must be a tuple of integers, but got {shown(sample_shape)}; "
                "sample((100,)) gives 100 draws"
            )
        sample_shape = [check_count("sample_shape", n, 0) for n in sample_shape]
        own = self.potential.batch_shape
        depth = len(own)
        split = len(self.batch_shape) - depth
        # expand() may have widened batch dimensions of size one: their entries are separate draws.
        grown = [n // m for n, m in zip(self.batch_shape[split:], own, strict=True)]
        lead = Size(sample_shape) + self.batch_shape[:split]
        if self._bound is None:
            self._bound = upper_bound(self.potential.unwrapped(), self.box)
        draws = rejection_sample(self._bound, lead + Size(grown), own, self.potential.dim)
        if self.potential.units.turn is not None:
            period = self.potential.units.period.to(draws)
            draws = wrapped(draws, period, lowest(period))
        pairs = [len(lead) + i + j * depth for i in range(depth) for j in (0, 1)]
        draws = draws.permute(*range(len(lead)), *pairs, draws.dim() - 1)
        return draws.reshape(self._extended_shape(Size(sample_shape)))

    def __repr__(self) -> str:
        period = self.potential.units.period
        line = "R^d" if self.potential.units.turn is None else f"modulo {period.tolist()}"
        where = line if self.box is None else f"[{self.box.low.tolist()}, {self.box.high.tolist()}]"
        return (
            f"LSEDensity(dim={self.potential.dim}, modes={self.potential.modes}, "
            f"batch_shape={tuple(self.batch_shape)}, support={where})"
        )


def _between(low: float, high: float) -> constraints.Constraint:
    """Numbers between two bounds, either of which may be infinite."""
    if math.isinf(low):
        return constraints.real if math.isinf(high) else constraints.less_than(high)
    return constraints.greater_than_eq(low) if math.isinf(high) else constraints.interval(low, high)
