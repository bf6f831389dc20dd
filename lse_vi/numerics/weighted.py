"""Weights of points: how they are read, how many points they are worth, and means under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lse_vi.checks import check_finite
from lse_vi.numerics.arrays import as_floats


class Weights(NamedTuple):
    """Weights of points, scaled so that their sum is what the points are worth.

    Attributes:
        values: (n, *batch) or (n, *1s), in double precision.
        counts: whether they are counts, each of so many equal points.
    """

    values: Tensor
    counts: bool

    @classmethod
    def of(cls, name: str, given: Any, shape: Sequence[int]) -> Weights:
        r"""Weights as users give them.

        Integers are counts: a point of weight 3 is three equal points. Floating numbers are
        relative, as those of a reweighted sample or a survey: only their ratios matter, and the
        points are worth Kish's effective number, (sum w)^2 / sum w^2.

        Args:
            name: of the argument, for the errors.
            given: (n,) or ``shape``.
            shape: (n, *batch) of the points.

        Raises:
            TypeError: for what holds no real numbers.
            ValueError: for another shape, negative or infinite weights, or none above zero.

        Example:
            >>> Weights.of("weights", [2.0, 2.0], (2,)).values.sum()
            tensor(2., dtype=torch.float64)
            >>> Weights.of("weights", [2, 2], (2,)).values.sum()
            tensor(4., dtype=torch.float64)
        """
        kind = getattr(given, "dtype", None)
        values = as_floats(name, given)
        counts = _whole(given, kind)
        if tuple(values.shape) not in ((shape[0],), tuple(shape)):
            expected = " or ".join(dict.fromkeys([f"({shape[0]},)", str(tuple(shape))]))
            raise ValueError(
                f"{name} must have shape {expected}, one entry per point, but got "
                f"{tuple(values.shape)}"
            )
        check_finite(name, values)
        values = values.double()
        if bool((values < 0).any()):
            raise ValueError(f"{name} must not be negative, but got {float(values.min())}")
        values = values.reshape(*values.shape, *(1,) * (len(shape) - values.dim()))
        total = values.sum(0)
        if bool((total <= 0).any()):
            raise ValueError(f"{name} must be above 0 for some point, but all are 0")
        if not counts:
            largest = values.amax(0)  # squares of tiny weights must not underflow
            values = values / largest
            values = values * (values.sum(0) / values.square().sum(0))
        return cls(values, counts)

    @classmethod
    def equal(cls, shape: Sequence[int]) -> Weights:
        """One for each point, at no memory."""
        ones = torch.ones((), dtype=torch.float64)
        return cls(ones.expand(shape[0], *(1,) * (len(shape) - 1)), counts=True)

    @property
    def size(self) -> Tensor:
        """How many points of weight one the points are worth, (*batch) or (*1s)."""
        return self.values.sum(0)


def _whole(given: Any, kind: Any) -> bool:
    """Whether weights are integers by their type."""
    if isinstance(given, Tensor):
        return not given.is_floating_point()
    if kind is not None:
        return getattr(kind, "kind", "f") in "iu"
    return isinstance(given, Sequence) and all(isinstance(w, int) for w in given)


def weighted_quantile(x: Tensor, weights: Tensor, q: float) -> Tensor:
    """The quantile of each column of ``x`` (n, dim) under ``weights`` (n,): (dim,).

    With counts, that of the points so often repeated, interpolated as by ``torch.quantile``.

    Example:
        >>> x, counts = torch.tensor([[0.0], [1.0], [4.0]]), torch.tensor([1.0, 1.0, 2.0])
        >>> weighted_quantile(x, counts, 0.5)
        tensor([2.5000])
    """
    ordered, order = x.sort(dim=0)
    ends = weights.to(x)[order].cumsum(0)  # (n, dim): how many points lie up to each
    place = (q * (ends[-1] - 1)).clamp_min(0.0)
    below, part = place.floor(), place - place.floor()

    def at(rank: Tensor) -> Tensor:
        middle = (rank + 0.5).unsqueeze(-1)  # ranks are whole, and so not on an edge by rounding
        row = torch.searchsorted(ends.mT.contiguous(), middle).clamp_max(len(x) - 1)
        return ordered.mT.gather(1, row).squeeze(-1)

    return torch.lerp(at(below), at(below + 1), part)


def median(x: Tensor, weights: Tensor) -> Tensor:
    """The median of ``x`` (n,) under ``weights`` (n,): as ``torch.median``, the lower of two.

    Example:
        >>> median(torch.tensor([4.0, 0.0, 1.0]), torch.tensor([2.0, 1.0, 1.0]))
        tensor(1.)
    """
    ordered, order = x.sort()
    ends = weights[order].cumsum(0)
    return ordered[int((ends < ends[-1] / 2).sum())]


def mean_and_error(values: Tensor, correction: int = 0) -> tuple[Tensor, Tensor]:
    """The mean of ``values`` (n, *batch) and its standard error; entries that are NaN are absent.

    Example:
        >>> mean_and_error(torch.tensor([[1.0, 5.0], [3.0, torch.nan]]))[0]
        tensor([2., 5.])
    """
    there = ~values.isnan()
    number = there.sum(0)
    mean = values.nan_to_num().sum(0) / number
    squares = torch.where(there, (values - mean).square(), 0.0).sum(0)
    return mean, (squares / (number - correction) / number).sqrt()
