"""What a potential is fitted to: values, gradients or both, in standardised units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lse_vi.checks import check_finite
from lse_vi.fitting.fingerprint import digest
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.arrays import as_data, as_tensor


@dataclass(frozen=True)
class Targets:
    r"""Points with the values and gradients wanted there, each with its weight.

    The loss of a potential is the sum over what is given of

    .. math:: \frac1n \sum_i w (E(x_i) - y_i)^2, \qquad
        \frac1{nd} \sum_{ij} w_j (\partial_j E(x_i) - g_{ij})^2

    Args:
        x: (n, *batch, dim).
        value: y, (n, *batch), or None.
        gradient: g, (n, *batch, dim), or None.
        value_weight: w, (*batch,).
        gradient_weight: w_j, (*batch, dim).
    """

    x: Tensor
    value: Tensor | None
    gradient: Tensor | None
    value_weight: Tensor
    gradient_weight: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor) -> Targets:
        """The points ``rows`` only."""
        value = None if self.value is None else self.value[rows]
        gradient = None if self.gradient is None else self.gradient[rows]
        return Targets(self.x[rows], value, gradient, self.value_weight, self.gradient_weight)

    def digest(self) -> str:
        """A fingerprint of all the numbers."""
        given = (self.x, self.value, self.gradient, self.value_weight, self.gradient_weight)
        return digest(part for part in given if part is not None)

    def in_shares(self) -> Targets:
        """The same, with weights that turn errors into shares of each target's spread."""
        value_weight, gradient_weight = self.value_weight, self.gradient_weight
        if self.value is not None:
            value_weight = value_weight / spread_or_one(self.value.var(0, correction=0))
        if self.gradient is not None:
            gradient_weight = gradient_weight / spread_or_one(self.gradient.square().mean(0))
        return Targets(self.x, self.value, self.gradient, value_weight, gradient_weight)

    def residuals(self, pot: LSEICNN) -> Tensor:
        """Weighted misfits whose squares add up to the loss: (n, restarts, *batch, outputs).

        ``pot`` has the batch shape (restarts, *batch), or (n, restarts, *batch) where every point
        has a potential of its own.
        """
        x, parts = self.x.unsqueeze(1), []
        if self.gradient is None:
            energy = pot(x)
        else:
            energy, gradient = pot.energy_and_gradient(x)
            scale = (self.gradient_weight / (len(self) * pot.dim)).sqrt()
            parts.append((gradient - self.gradient.unsqueeze(1)) * scale)
        if self.value is not None:
            scale = (self.value_weight / len(self)).sqrt()
            parts.insert(0, ((energy - self.value.unsqueeze(1)) * scale).unsqueeze(-1))
        return torch.cat(parts, dim=-1)

    def loss(self, pot: LSEICNN) -> Tensor:
        """Weighted mean squares: (restarts, *batch)."""
        return self.residuals(pot).square().sum((0, -1))


def spread_or_one(size: Tensor) -> Tensor:
    """``size``, or one where all targets are equal and there is nothing to scale by."""
    return torch.where(size > 0, size, 1.0)


def as_targets(
    pot: LSEICNN, x: Any, value: Any, gradient: Any, value_weight: Any, gradient_weight: Any
) -> Targets:
    """Data as the user gives them, checked, in the dtype and on the device of ``pot``.

    Raises:
        ValueError: for shapes that disagree, entries that are not finite, a constant column,
            weights that are negative, and neither values nor gradients.
    """
    batch, dim = pot.batch_shape, pot.dim
    points = _tensor(x, pot)
    points = as_data("x", points) if points.dim() < 3 or points.numel() == 0 else points
    check_finite("x", points)
    if points.shape[-1] != dim:
        raise ValueError(f"x must have last dimension {dim}, but got {tuple(points.shape)}")
    n = len(points)
    if points.dim() == 2:
        points = points.reshape(n, *(1,) * len(batch), dim)
    if value is None and gradient is None:
        raise ValueError("value and gradient are both None: give one of them, or both")
    constant = (points.amax(0) == points.amin(0)).reshape(-1, dim).any(0)
    if n < 3 or bool(constant.any()):
        columns = constant.nonzero().flatten().tolist()
        raise ValueError(
            f"x needs at least 3 points that differ in every coordinate, but got {n} points, "
            f"constant in column {columns}; drop such columns"
        )
    return Targets(
        _per_point("x", points, (n, *batch, dim)),
        None if value is None else _target("value", value, pot, n, ()),
        None if gradient is None else _target("gradient", gradient, pot, n, (dim,)),
        _weight("value_weight", value_weight, pot, batch),
        _weight("gradient_weight", gradient_weight, pot, (*batch, dim)),
    )


def _tensor(x: Any, pot: LSEICNN) -> Tensor:
    return as_tensor(x).to(pot.alpha)


def _target(name: str, given: Any, pot: LSEICNN, n: int, event: tuple[int, ...]) -> Tensor:
    """``given`` as (n, *batch, *event); (n, *event) is shared by the batch, (n, 1) is (n,)."""
    data, batch = _tensor(given, pot), tuple(pot.batch_shape)
    if data.shape == (n, *event):
        data = data.reshape(n, *(1,) * len(batch), *event)
    elif event == (1,) and data.shape == (n,):
        data = data.reshape(n, *(1,) * len(batch), 1)
    elif event == () and not batch and data.shape == (n, 1):
        data = data.squeeze(-1)
    check_finite(name, data)
    return _per_point(name, data, (n, *batch, *event))


def _per_point(name: str, data: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``data`` expanded over the batch, never over the points: one number is no data set."""
    if data.dim() != len(shape) or len(data) != shape[0]:
        raise ValueError(
            f"{name} must have shape {shape}, one entry per point of x, but got {tuple(data.shape)}"
        )
    return _broadcast(name, data, shape)


def _broadcast(name: str, data: Tensor, shape: tuple[int, ...]) -> Tensor:
    try:
        return data.expand(shape)
    except RuntimeError as error:
        raise ValueError(f"{name} must have shape {shape}, but got {tuple(data.shape)}") from error


def _weight(name: str, given: Any, pot: LSEICNN, shape: tuple[int, ...]) -> Tensor:
    weight = _broadcast(name, _tensor(given, pot), shape)
    check_finite(name, weight)
    if bool((weight < 0).any()):
        raise ValueError(f"{name} must not be negative, but got {weight.min().item()}")
    return weight
