r"""Supports that torch cannot map to the real line: circles, and those of mixtures.

An angle is the direction of a point in the plane, so that no seam cuts a mode.

The point has a length of its own, whose law is independent of the angle: that of a normal point in
three dimensions, whose density in the plane vanishes at the origin, where no angle is. With p the
density of the angle a(z) at a point z,

.. math:: \int p(a(z)) \, |z| e^{-|z|^2 / 2} \, dz = \sqrt{\pi / 2} \int p(a) \, da,

so the evidence is that of the model with the angle.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from torch import Size, Tensor
from torch.distributions import Transform, biject_to, constraints

LIKE_A_TURN = 1e-5  # radians of a support's length: above rounding in single precision
# A mode is cut by the ends of a turn if the parts next to them, each this share of the turn, hold
# together so many times their share of a uniform law, and each of them at least so much.
END, DENSE, END_SHARE = 0.05, 2.0, 0.01


class _Circle(constraints.Constraint):
    """Angles, modulo a turn."""

    def check(self, value: Tensor) -> Tensor:
        return value.isfinite()


circle = _Circle()


class PointToAngle(Transform):
    """The angle of points in the plane, (*batch, 2) -> (*batch); back to points of length one.

    Example:
        >>> PointToAngle()(torch.tensor([0.0, 3.0]))
        tensor(1.5708)
    """

    domain, codomain = constraints.real_vector, circle
    bijective = True  # but for the length, whose law is in the Jacobian

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PointToAngle)

    def __hash__(self) -> int:
        return hash(PointToAngle)

    def _call(self, x: Tensor) -> Tensor:
        return torch.atan2(x[..., 1], x[..., 0])

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.stack([y.cos(), y.sin()], -1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |x| - |x|^2 / 2, normalised so that angles keep their density."""
        square = x.square().sum(-1)
        return 0.5 * (square.log() - square - math.log(math.pi / 2))

    def forward_shape(self, shape: Any) -> Size:
        """The shape of angles of points of ``shape``."""
        return torch.Size(shape[:-1])

    def inverse_shape(self, shape: Any) -> Size:
        """The shape of points with angles of ``shape``."""
        return torch.Size((*shape, 2))


biject_to.register(_Circle, lambda constraint: PointToAngle())


class AngleVonMises(dist.VonMises):
    """Von Mises' law, whose support is the circle and not the real line."""

    support = circle


class OnCircles(Messenger):
    """Latent sites with von Mises' law have the circle as their support."""

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"]:
            msg["fn"] = _on_circle(msg["fn"])


def is_angle(site: Any) -> bool:
    """Whether a site of a run within :class:`OnCircles` is an angle."""
    fn = site["fn"]
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return isinstance(fn, AngleVonMises)


def _on_circle(fn: Any) -> Any:
    """A law with that of von Mises, in plates or under masks, put on the circle."""
    if isinstance(fn, dist.VonMises):
        other = copy.copy(fn)
        other.__class__ = AngleVonMises
        return other
    base = getattr(fn, "base_dist", None)
    if base is None or isinstance(fn, dist.TransformedDistribution):
        return fn
    if (on_circle := _on_circle(base)) is base:
        return fn
    other = copy.copy(fn)
    other.base_dist = on_circle
    return other


def transform_of_mixture(constraint: Any) -> Any:
    """The transform to the support of a ``MixtureSameFamily``, that of its components.

    Raises:
        NotImplementedError: if the components have different supports.
    """
    base = constraint.base_constraint
    bounds = {name: value for name, value in vars(base).items() if isinstance(value, Tensor)}
    for name, value in bounds.items():
        if value.dim() and not bool((value == value.flatten()[0]).all()):
            raise NotImplementedError(
                "the components of a MixtureSameFamily have different supports "
                f"({name} {value.tolist()}); give them one, or write the mixture with a discrete "
                "site, which is summed out"
            )
    if bounds:
        base = type(base)(*(value.flatten()[0] for value in bounds.values()))
    return biject_to(base)


def check_support(name: str, site: Any) -> None:
    """The support of a latent site must be one that can be mapped to the real line."""
    try:
        biject_to(site["fn"].support)
    except NotImplementedError as error:
        sphere = site["fn"].support is dist.constraints.sphere
        advice = (
            "; as a direction is that of a point in space, write poutine.reparam(model, "
            f"{{{name!r}: ProjectedNormalReparam()}})"
        )
        raise ValueError(
            f"model: the support of site {name!r} cannot be mapped to the real line: {error}"
            f"{advice if sphere else ''}"
        ) from error


def turns(site: Any) -> Tensor:
    """Which entries of a site have an interval as long as a turn as their support."""
    low, high = _ends(site)
    return (high - low - 2 * math.pi).abs() < LIKE_A_TURN


def cut_share(site: Any, value: Tensor, weights: Tensor) -> float:
    """The largest share of an entry's mass near both ends of a turn; 0 if no mode is cut there.

    Args:
        site: latent.
        value: its draws, (n, *shape).
        weights: of the draws, (n,), with sum one.
    """
    (low, high), reach = _ends(site), END * 2 * math.pi
    at_low, at_high = (
        torch.tensordot(weights, near.to(weights), 1)
        for near in (value < low + reach, value > high - reach)
    )
    dense = at_low + at_high > DENSE * 2 * END
    cut = turns(site) & dense & (torch.minimum(at_low, at_high) > END_SHARE)
    return float(torch.where(cut, at_low + at_high, 0.0).amax())


def _ends(site: Any) -> tuple[Tensor, Tensor]:
    """The ends of the support of each entry of a site; both zero if it is no interval."""
    support = site["fn"].support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    bounds = [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]
    both = all(bound is not None for bound in bounds)
    low, high = (torch.as_tensor(bound) for bound in (bounds if both else (0.0, 0.0)))
    return low, high


if (mixture := getattr(constraints, "MixtureSameFamilyConstraint", None)) is not None:
    biject_to.register(mixture, transform_of_mixture)
