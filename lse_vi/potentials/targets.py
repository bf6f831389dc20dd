"""What a potential is fitted to: values, gradients or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lse_vi.checks import check_finite
from lse_vi.fitting.fingerprint import digest
from lse_vi.network.circle import counted_from, sparsest
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.arrays import as_floats, check_resolved, read
from lse_vi.numerics.weighted import Weights

CIRCLE_POINTS = 1000  # by which the place is found at which a circle is cut
LEAST_POINTS = 3  # of a data set: two points have a spread, but a straight line fits them


@dataclass(frozen=True)
class Targets:
    r"""Points with the values y and gradients g that a potential must have there, and weights.

    The loss of a potential is the sum of these two terms, or the one whose target is given:

    .. math:: \frac1n \sum_i w (E(x_i) - y_i)^2, \qquad
        \frac1{nd} \sum_{ij} w_j (\partial_j E(x_i) - g_{ij})^2

    Where the points have weights, the means over i are weighted by these.

    Args:
        x: (n, *batch, dim), minus ``origin``.
        value: y, (n, *batch), or None.
        gradient: g, (n, *batch, dim), or None.
        value_weight: w, (*batch,).
        gradient_weight: w_j, (*batch, dim).
        rows: the rows of the points in what the user gave, (n,).
        origin: (dim,), 0 where x is not periodic. Where it is, it is the point at which the circle
            is cut, and ``x`` is in [0, period).
        places: the points as the user gave them, (n, *batch, dim).
        worth: weights of the points, (n, *batch) or (n, *1s); None for points of weight one.
    """

    x: Tensor
    value: Tensor | None
    gradient: Tensor | None
    value_weight: Tensor
    gradient_weight: Tensor
    rows: Tensor
    origin: Tensor
    places: Tensor
    worth: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor) -> Targets:
        """The targets of the points ``rows`` alone."""
        return self._with(
            ("x", "value", "gradient", "rows", "places", "worth"), lambda part: part[rows]
        )

    def digest(self) -> str:
        """A fingerprint of all the numbers."""
        return digest(part for part in vars(self).values() if part is not None)

    def to(self, dtype: torch.dtype) -> Targets:
        """The same numbers in another precision."""
        own = ("x", "value", "gradient", "value_weight", "gradient_weight", "worth")
        return self._with(own, lambda part: part.to(dtype))

    def _with(self, names: Sequence[str], change: Callable[[Tensor], Tensor]) -> Targets:
        """The same targets with the parts of these ``names`` changed, if there."""
        parts = {n: p for n, p in vars(self).items() if n in names and p is not None}
        return replace(self, **{n: change(p) for n, p in parts.items()})

    @property
    def size(self) -> Tensor | int:
        """How many points they are, or by weights are worth, (*batch) or (*1s)."""
        return len(self) if self.worth is None else self.worth.sum(0)

    def mean(self, entries: Tensor, *, restarts: bool = False) -> Tensor:
        """The mean over the points of ``entries`` (n, *batch, ...), or (n, restarts, *batch, ...).

        The second with ``restarts``.
        """
        if self.worth is None:
            return entries.mean(0)
        worth = self._worth(entries.dim(), restarts)
        return (worth * entries).sum(0) / worth.sum(0)

    def variance(self, entries: Tensor, correction: int = 1) -> Tensor:
        """The variance of ``entries`` (n, *batch, ...)."""
        if self.worth is None:
            return entries.var(0, correction=correction)
        worth = self._worth(entries.dim())
        squares = (worth * (entries - self.mean(entries)).square()).sum(0)
        size = worth.sum(0)
        # Weights may be worth one point at most, of which a sample has no variance.
        return squares / torch.where(size > correction, size - correction, size)

    def in_shares(self) -> Targets:
        """The same targets, with weights that make errors shares of each target's spread."""
        value_weight, gradient_weight = self.value_weight, self.gradient_weight
        if self.value is not None:
            value_weight = value_weight / spread_or_one(self.variance(self.value, 0))
        if self.gradient is not None:
            gradient_weight = gradient_weight / spread_or_one(self.mean(self.gradient.square()))
        return replace(self, value_weight=value_weight, gradient_weight=gradient_weight)

    def residuals(self, pot: LSEICNN) -> Tensor:
        """Weighted errors whose squares add up to the loss: (n, restarts, *batch, outputs).

        ``pot`` has the batch shape (restarts, *batch), or (n, restarts, *batch) with a copy of its
        parameters for every point.
        """
        x, parts = self.x.unsqueeze(1), []
        if self.gradient is None:
            energy = pot(x)
        else:
            energy, gradient = pot.energy_and_gradient(x)
            scale = self._shared(self.gradient_weight, pot.dim).sqrt()
            parts.append((gradient - self.gradient.unsqueeze(1)) * scale)
        if self.value is not None:
            scale = self._shared(self.value_weight).sqrt()
            parts.insert(0, ((energy - self.value.unsqueeze(1)) * scale).unsqueeze(-1))
        return torch.cat(parts, dim=-1)

    def misfits(self, pot: LSEICNN) -> Tensor:
        """How far each target is off, in spreads of the targets, (n,); ``pot`` is a single one."""
        x, off = self.places.to(pot.point_dtype), torch.zeros_like(self.x[..., 0])
        if self.value is not None:
            spread = spread_or_one(self.variance(self.value).sqrt())
            off = off + ((pot(x) - self.value) / spread).square()
        if self.gradient is not None:
            size = spread_or_one(self.mean(self.gradient.square()).sqrt())
            off = off + ((pot.gradient(x) - self.gradient) / size).square().mean(-1)
        return off.sqrt()

    def loss(self, pot: LSEICNN) -> Tensor:
        """Weighted mean squares: (restarts, *batch)."""
        return self.residuals(pot).square().sum((0, -1))

    def _worth(self, axes: int, restarts: bool = False) -> Tensor:
        """The weights as (n, *batch, ...) or (n, 1, *batch, ...) of so many axes."""
        assert self.worth is not None
        worth = self.worth.unsqueeze(1) if restarts else self.worth
        return worth.reshape(*worth.shape, *(1,) * (axes - worth.dim()))

    def _shared(self, weight: Tensor, outputs: int = 1) -> Tensor:
        """``weight`` (*batch, ...) of the errors of each point, whose sum is the loss."""
        if self.worth is None:
            return weight / (len(self) * outputs)
        worth = self._worth(weight.dim() + 2, restarts=True)
        return worth / worth.sum(0) * weight / outputs


def spread_or_one(size: Tensor) -> Tensor:
    """``size``, or one where it is zero because all targets are equal."""
    return torch.where(size > 0, size, 1.0)


def as_targets(
    pot: LSEICNN,
    x: Any,
    value: Any,
    gradient: Any,
    value_weight: Any,
    gradient_weight: Any,
    weights: Any = None,
) -> Targets:
    """Check the data that the user gives, in double precision on the device of ``pot``.

    Points of which something is masked, or whose weights are 0, are left out.

    Args:
        pot: the potential to be fitted, of batch shape (*batch).
        x, value, gradient, value_weight, gradient_weight, weights: as for :func:`fit_potential`.

    Raises:
        TypeError: for what holds no real numbers.
        ValueError: for shapes that disagree, entries that are not finite, a constant column,
            negative weights, fewer than three points, and neither values nor gradients.
    """
    batch, dim = tuple(pot.batch_shape), pot.dim
    if value is None and gradient is None:
        raise ValueError("value and gradient are both None: give one of them, or both")
    points, gone = read("x", x)
    if points.dim() == 1:
        points = points.unsqueeze(-1)
        gone = None if gone is None else gone.unsqueeze(-1)
    if points.dim() < 2 or points.shape[-1] != dim:
        raise ValueError(f"x must have last dimension {dim}, but got {tuple(points.shape)}")
    if not points.numel():
        raise ValueError(f"x is empty: shape {tuple(points.shape)}")
    n = len(points)
    if points.dim() == 2:
        points = points.reshape(n, *(1,) * len(batch), dim)
    parts = {"x": (_per_point("x", points, (n, *batch, dim)), gone)}
    if value is not None:
        parts["value"] = _target("value", value, batch, n, ())
    if gradient is not None:
        parts["gradient"] = _target("gradient", gradient, batch, n, (dim,))
    whole = ~torch.stack([_any_row(n, mask) for _, mask in parts.values()]).any(0)
    worth = None
    if weights is not None:
        worth = Weights.of("weights", weights, (n, *batch)).values
        whole &= (worth > 0).reshape(n, -1).any(-1)
        worth = worth[whole].to(pot.alpha.device)
    kept = {name: data[whole].to(pot.alpha.device) for name, (data, _) in parts.items()}
    for name, data in kept.items():
        check_finite(name, data)
    low, high = kept["x"].amin(0), kept["x"].amax(0)
    constant = (low == high).reshape(-1, dim).any(0)
    if len(kept["x"]) < LEAST_POINTS or bool(constant.any()):
        columns = constant.nonzero().flatten().tolist()
        raise ValueError(
            f"x needs at least {LEAST_POINTS} points that differ in every coordinate, but got "
            f"{len(kept['x'])} points, constant in column {columns}; drop such columns"
        )
    check_resolved("x", low, high)
    if "value" in kept:
        levels = kept["value"].unsqueeze(-1)
        check_resolved("value", levels.amin(0), levels.amax(0))
    places = kept["x"].double()
    x, origin = _on_circle(places, worth, pot)
    return Targets(
        x,
        kept["value"].double() if "value" in kept else None,
        kept["gradient"].double() if "gradient" in kept else None,
        _weight("value_weight", value_weight, pot, batch),
        _weight("gradient_weight", gradient_weight, pot, (*batch, dim)),
        rows=whole.nonzero().flatten(),
        origin=origin,
        places=places,
        worth=worth,
    )


def _on_circle(x: Tensor, worth: Tensor | None, pot: LSEICNN) -> tuple[Tensor, Tensor]:
    """``x`` (n, *batch, dim) minus an origin, modulo the period; and the origin, (dim,).

    The origin is the point that has the fewest around it.
    """
    if pot.units.turn is None:
        return x, torch.zeros_like(x.reshape(-1, pot.dim)[0])
    period = pot.units.period.reshape(-1, pot.dim)
    if not bool((period == period[0]).all()):
        raise ValueError(
            f"pot: its potentials must have one period for all, but got {period.tolist()}"
        )
    turn, step = period[0].to(x), max(1, len(x) // CIRCLE_POINTS)
    weights = torch.ones_like(x[..., 0]) if worth is None else worth.expand(x.shape[:-1])
    some = x[::step].reshape(-1, pot.dim)
    low = sparsest(some, weights[::step].reshape(-1), turn)
    return counted_from(low, x, turn), low


def _any_row(n: int, mask: Tensor | None) -> Tensor:
    """Which of ``n`` points miss something, (n,)."""
    return torch.zeros(n, dtype=torch.bool) if mask is None else mask.reshape(n, -1).any(-1)


def _target(
    name: str, given: Any, batch: tuple[int, ...], n: int, event: tuple[int, ...]
) -> tuple[Tensor, Tensor | None]:
    """``given`` as (n, *batch, *event), and which of its entries are missing.

    Data (n, *event) are shared by the batch. A column (n, 1) and a vector (n,) mean the same.
    """
    data, gone = read(name, given)
    if data.shape == (n, *event):
        data = data.reshape(n, *(1,) * len(batch), *event)
    elif event == (1,) and data.shape == (n,):
        data = data.reshape(n, *(1,) * len(batch), 1)
    elif event == () and not batch and data.shape == (n, 1):
        data = data.squeeze(-1)
    return _per_point(name, data, (n, *batch, *event)), gone


def _per_point(name: str, data: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``data`` expanded over the batch; not over the points, where it would hide a missing axis."""
    if data.dim() != len(shape) or len(data) != shape[0]:
        raise ValueError(
            f"{name} must have shape {shape}, one entry per point of x, but got {tuple(data.shape)}"
        )
    return _broadcast(name, data, shape)


def _broadcast(name: str, data: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``data`` expanded to ``shape``, or an error that names it."""
    try:
        return data.expand(shape)
    except RuntimeError as error:
        raise ValueError(f"{name} must have shape {shape}, but got {tuple(data.shape)}") from error


def _weight(name: str, given: Any, pot: LSEICNN, shape: tuple[int, ...]) -> Tensor:
    """``given`` as weights of ``shape``, finite and not negative."""
    weight = _broadcast(name, as_floats(name, given).to(pot.alpha.device).double(), shape)
    check_finite(name, weight)
    if bool((weight < 0).any()):
        raise ValueError(f"{name} must not be negative, but got {weight.min().item()}")
    return weight
