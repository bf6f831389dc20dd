r"""Invariants of strain: a potential of these does not depend on the observer.

A set of invariants I(E) is an object with three maps: from strain to invariants, from strain and
its rate to invariants of both, and from slopes dPsi/dI to the stress S = sum_i dPsi/dI_i dI_i/dE
(the chain rule, for full strain in three dimensions). Strains are symmetric tensors (*shape, 3, 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from lse_vi.checks import check_count, check_finite
from lse_vi.signatures.checked import checked

# Largest difference of a strain from its transpose, as a share of its largest entry: about a
# hundred rounding errors in single precision.
ASYMMETRY = 1e-5


class Invariants(Protocol):
    """What a potential reads of its input, and how its slopes become forces on that input.

    The interface of all sets here, to write one for another symmetry.

    Attributes:
        event_shape: shape of one input.
        dim: number of invariants of an input.
        rate_dim: number of invariants of an input and its rate together.
    """

    event_shape: tuple[int, ...]
    dim: int
    rate_dim: int

    def __call__(self, strain: Tensor) -> Tensor:
        """I(E): (*shape, *event) -> (*shape, dim)."""

    def with_rate(self, strain: Tensor, rate: Tensor) -> Tensor:
        """I(E) and the invariants of the rate: two (*shape, *event) -> (*shape, rate_dim)."""

    def stress(self, strain: Tensor, slope: Tensor) -> Tensor:
        """sum_i slope_i dI_i/dE: (*shape, *event) and (*shape, dim) -> (*shape, *event)."""


class Isotropic:
    r"""The paper's set, for a material without a special direction: tr E, tr E^2, tr E^3.

    With the rate also tr E', tr E'^2, tr E'^3, tr E E', tr E^2 E' and tr E E'^2. Without strain,
    the stress of such a material can only be a pressure.

    Example:
        >>> Isotropic()(torch.eye(3))
        tensor([3., 3., 3.])
    """

    event_shape: tuple[int, ...] = (3, 3)
    dim = 3
    rate_dim = 9

    def __call__(self, strain: Tensor) -> Tensor:
        """I(E): (*shape, 3, 3) -> (*shape, 3)."""
        square = strain @ strain
        return torch.stack([_trace(strain), _dot(strain, strain), _dot(square, strain)], dim=-1)

    @checked
    def with_rate(self, strain: Tensor, rate: Tensor) -> Tensor:
        """I(E) and the invariants of the rate: (*shape, 9)."""
        check_beside(strain, "rate", rate, self.event_shape, self.event_shape)
        square, rate_square = strain @ strain, rate @ rate
        mixed = [
            _trace(rate),
            _dot(rate, rate),
            _dot(rate_square, rate),
            _dot(strain, rate),
            _dot(square, rate),
            _dot(strain, rate_square),
        ]
        return torch.cat([self(strain), torch.stack(mixed, dim=-1)], dim=-1)

    @checked
    def stress(self, strain: Tensor, slope: Tensor) -> Tensor:
        """The stress slope_1 I + 2 slope_2 E + 3 slope_3 E^2: (*shape, 3, 3)."""
        check_beside(strain, "slope", slope, self.event_shape, (self.dim,))
        first, second, third = slope[..., None, None].unbind(-3)
        eye = torch.eye(3, dtype=strain.dtype, device=strain.device)
        return first * eye + 2 * second * strain + 3 * third * (strain @ strain)


class TransverselyIsotropic:
    r"""The isotropic set with a . E a and a . E^2 a, for a material with one special axis a.

    With the rate also a . E' a, a . E'^2 a and a . E E' a. With this set a potential can be the
    energy of a material whose transformation strain lies along a; with an isotropic set it cannot.

    Args:
        axis: the direction a, three numbers, not all zero.

    Raises:
        ValueError: for an axis that is not three finite numbers, or zero.

    Example:
        >>> TransverselyIsotropic()(torch.diag(torch.tensor([2.0, 0.0, 0.0])))
        tensor([2., 4., 8., 2., 4.])
    """

    event_shape: tuple[int, ...] = (3, 3)
    dim = 5
    rate_dim = 14

    @checked
    def __init__(self, axis: Sequence[float] = (1.0, 0.0, 0.0)) -> None:
        a = torch.tensor([float(v) for v in axis], dtype=torch.float64)
        if a.shape != (3,) or not bool(torch.isfinite(a).all()) or not bool(a.any()):
            raise ValueError(f"axis must be three finite numbers, not all zero, but got {axis}")
        self.axis = a / a.norm()
        self.isotropic = Isotropic()

    def __call__(self, strain: Tensor) -> Tensor:
        """I(E): (*shape, 3, 3) -> (*shape, 5)."""
        along = self._along(strain)
        fibre = [along @ self.axis.to(strain), _square(along)]
        return torch.cat([self.isotropic(strain), torch.stack(fibre, dim=-1)], dim=-1)

    @checked
    def with_rate(self, strain: Tensor, rate: Tensor) -> Tensor:
        """I(E) and the invariants of the rate: (*shape, 14)."""
        check_beside(strain, "rate", rate, self.event_shape, self.event_shape)
        along, rate_along = self._along(strain), self._along(rate)
        a = self.axis.to(strain)
        fibre = [along @ a, _square(along), rate_along @ a, _square(rate_along)]
        fibre.append((along * rate_along).sum(-1))
        isotropic = self.isotropic.with_rate(strain, rate)
        return torch.cat([isotropic, torch.stack(fibre, dim=-1)], dim=-1)

    @checked
    def stress(self, strain: Tensor, slope: Tensor) -> Tensor:
        """The isotropic stress + slope_4 a a + slope_5 (a Ea + Ea a): (*shape, 3, 3)."""
        check_beside(strain, "slope", slope, self.event_shape, (self.dim,))
        a = self.axis.to(strain)
        outer = a * self._along(strain).unsqueeze(-1)  # (E a)_i a_j
        first, second = slope[..., 3, None, None], slope[..., 4, None, None]
        fibre = first * torch.outer(a, a) + second * (outer + outer.mT)
        return self.isotropic.stress(strain, slope[..., :3]) + fibre

    def _along(self, tensor: Tensor) -> Tensor:
        """The vector T a for tensors T (*shape, 3, 3): (*shape, 3)."""
        return tensor @ self.axis.to(tensor)


class Components:
    """No symmetry: the potential reads a vector (*shape, dim) as it is.

    For inputs that are no strain tensors, such as a displacement.

    Args:
        dim: dimension of the vector.

    Raises:
        ValueError: for a dimension below 1.

    Example:
        >>> Components(2).with_rate(torch.zeros(5, 2), torch.ones(5, 2)).shape
        torch.Size([5, 4])
    """

    @checked
    def __init__(self, dim: int) -> None:
        self.dim = check_count("dim", dim)
        self.event_shape: tuple[int, ...] = (dim,)
        self.rate_dim = 2 * dim

    def __call__(self, strain: Tensor) -> Tensor:
        """The input itself."""
        return strain

    @checked
    def with_rate(self, strain: Tensor, rate: Tensor) -> Tensor:
        """Input and rate side by side: (*shape, 2 dim)."""
        check_beside(strain, "rate", rate, self.event_shape, self.event_shape)
        return torch.cat([strain, rate], dim=-1)

    @checked
    def stress(self, strain: Tensor, slope: Tensor) -> Tensor:
        """The slopes themselves."""
        check_beside(strain, "slope", slope, self.event_shape, self.event_shape)
        return slope


def check_strain(name: str, strain: Any, event_shape: tuple[int, ...]) -> Tensor:
    """``strain`` must be paths (*paths, times, *event): finite, symmetric, with two times or more.

    Raises:
        TypeError: for anything but a tensor of floating-point numbers.
        ValueError: for another shape, no entries, or entries not finite or not symmetric.
    """
    if not isinstance(strain, Tensor) or not strain.is_floating_point():
        kind = strain.dtype if isinstance(strain, Tensor) else type(strain).__name__
        raise TypeError(f"{name} must be a tensor of floating-point numbers, but got {kind}")
    events = len(event_shape)
    shape = tuple(strain.shape)
    if len(shape) <= events or shape[-events:] != event_shape or shape[-events - 1] < 2:
        expected = ", ".join(map(str, event_shape))
        raise ValueError(
            f"{name} must have shape (*paths, times, {expected}) with two times or more, "
            f"but got {shape}"
        )
    if not strain.numel():
        raise ValueError(f"{name} is empty: shape {shape}")
    check_finite(name, strain)
    if events == 2:
        e = strain.detach()
        skew = float((e - e.mT).abs().amax())
        if skew > ASYMMETRY * float(e.abs().amax()):
            raise ValueError(f"{name} must be symmetric, but differs from its transpose by {skew}")
    return strain


def check_beside(
    strain: Tensor, name: str, other: Tensor, event: tuple[int, ...], own: tuple[int, ...]
) -> None:
    """``strain`` must have shape (*shape, *event), and ``other`` (*shape, *own)."""
    for label, tensor, ending in (("strain", strain, event), (name, other, own)):
        if tuple(tensor.shape[max(tensor.dim() - len(ending), 0) :]) != tuple(ending):
            raise ValueError(
                f"{label} must have a shape that ends in {tuple(ending)}, but got "
                f"{tuple(tensor.shape)}"
            )
    lead = strain.shape[: strain.dim() - len(event)], other.shape[: other.dim() - len(own)]
    try:
        torch.broadcast_shapes(*lead)
    except RuntimeError as error:
        raise ValueError(
            f"{name} must be beside strain, but they have shapes {tuple(other.shape)} and "
            f"{tuple(strain.shape)}"
        ) from error


def _trace(a: Tensor) -> Tensor:
    """tr A: (*shape, n, n) -> (*shape)."""
    return a.diagonal(dim1=-2, dim2=-1).sum(-1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """tr(A B) of symmetric tensors: two (*shape, n, n) -> (*shape)."""
    return (a * b).sum((-2, -1))


def _square(v: Tensor) -> Tensor:
    """v . v: (*shape, n) -> (*shape)."""
    return v.square().sum(-1)
