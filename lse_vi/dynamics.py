"""Motion on a potential: gradient flow, stationary points, basins, and blends of two potentials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torchdiffeq import odeint

from lse_vi.checks import check_finite, check_points, check_positive
from lse_vi.minima import distinct, spread_of
from lse_vi.newton import descend


class Landscape(Protocol):
    """E with two derivatives: a :class:`lse_vi.LSEICNN`, or a :class:`Blend` at one time."""

    @property
    def dim(self) -> int:
        """Dimension of x."""

    def __call__(self, x: Tensor) -> Tensor:
        """E: (*sample, dim) -> (*sample)."""

    def gradient(self, x: Tensor) -> Tensor:
        """Grad E: (*sample, dim) -> same shape."""

    def hessian(self, x: Tensor) -> Tensor:
        """Second derivatives: (*sample, dim) -> (*sample, dim, dim)."""


@dataclass(frozen=True)
class Mixture:
    """(1 - s) E_1 + s E_2 for one number s."""

    first: Landscape
    second: Landscape
    s: float

    @property
    def dim(self) -> int:
        """Dimension of x."""
        return self.first.dim

    def __call__(self, x: Tensor) -> Tensor:
        """E: (*sample, dim) -> (*sample)."""
        return torch.lerp(self.first(x), self.second(x), self.s)

    def gradient(self, x: Tensor) -> Tensor:
        """Grad E: (*sample, dim) -> same shape."""
        return torch.lerp(self.first.gradient(x), self.second.gradient(x), self.s)

    def hessian(self, x: Tensor) -> Tensor:
        """Second derivatives: (*sample, dim) -> (*sample, dim, dim)."""
        return torch.lerp(self.first.hessian(x), self.second.hessian(x), self.s)


@dataclass(frozen=True)
class Blend:
    """A landscape that turns from one potential into another: (1 - s(t)) E_1 + s(t) E_2.

    Args:
        first: E_1.
        second: E_2, of the same dimension.
        weight: s, from a time to a number.

    Raises:
        ValueError: for two dimensions that differ.

    Example:
        >>> from lse_vi import LSEICNN
        >>> blend = Blend(LSEICNN(2, 1), LSEICNN(2, 3), weight=lambda t: t / (1 + t))
        >>> blend.at(3.0)(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    first: Landscape
    second: Landscape
    weight: Callable[[float], float]

    def __post_init__(self) -> None:
        if self.first.dim != self.second.dim:
            raise ValueError(
                "first and second must have the same dimension, but got "
                f"{self.first.dim} and {self.second.dim}"
            )

    def at(self, t: float) -> Mixture:
        """The landscape at time t."""
        return Mixture(self.first, self.second, float(self.weight(t)))


@torch.no_grad()
def gradient_flow(
    landscape: Landscape | Blend, x0: Tensor, times: Any, *, tolerance: float = 1e-8
) -> Tensor:
    """Follow dx/dt = -grad E from many starts at once (Dormand & Prince's method, adaptive).

    Args:
        landscape: E; a :class:`Blend` for one that changes with time.
        x0: starts (*sample, dim), where the paths are at the first time.
        times: (times,), increasing.
        tolerance: relative and absolute error allowed in a step.

    Returns:
        Paths (times, *sample, dim).

    Raises:
        ValueError: for times that do not increase, or starts that are not finite.

    Example:
        >>> from lse_vi import LSEICNN
        >>> gradient_flow(LSEICNN(2, 3), torch.zeros(5, 2), [0.0, 1.0, 2.0]).shape
        torch.Size([3, 5, 2])
    """
    dim = landscape.first.dim if isinstance(landscape, Blend) else landscape.dim
    _check_points("x0", x0, dim)
    check_positive("tolerance", tolerance)
    t = torch.as_tensor(times).to(x0)
    if t.dim() != 1 or len(t) < 2 or not bool((t.diff() > 0).all()):
        raise ValueError(f"times must be at least two increasing numbers, but got {t.tolist()}")

    def rate(now: Tensor, x: Tensor) -> Tensor:
        fixed = landscape.at(float(now)) if isinstance(landscape, Blend) else landscape
        return -fixed.gradient(x)

    return odeint(rate, x0, t, rtol=tolerance, atol=tolerance, method="dopri5")


class StationaryPoints(NamedTuple):
    """Points where grad E vanishes, lowest first.

    Attributes:
        points: (m, dim).
        energies: (m,).
        curvatures: eigenvalues of the Hessian in increasing order, (m, dim).
        kinds: "minimum", "maximum" or "saddle" by their signs, m of them.
    """

    points: Tensor
    energies: Tensor
    curvatures: Tensor
    kinds: tuple[str, ...]


@torch.no_grad()
def stationary_points(
    landscape: Landscape, starts: Tensor, *, separation: float = 1e-3
) -> StationaryPoints:
    """Minima, maxima and saddles of E that are reached from ``starts``.

    Damped Gauss-Newton descends |grad E|^2/2 from every start. It finds points of every kind; none
    is missed if a start is near enough, so give many: a grid over the region of interest.

    Args:
        landscape: E.
        starts: (n, dim); points outside their bounding box are left out.
        separation: points closer than this share of the starts' spread are one.

    Raises:
        ValueError: for starts that are not finite, of another dimension, or fewer than two
            different ones, or a separation that is not positive.

    Example:
        >>> from lse_vi import LSEICNN, WhitenedICNN
        >>> pot = LSEICNN(2, 2, hidden=(), rho=1.0, network=WhitenedICNN)
        >>> pot.network.reset_parameters(torch.tensor([[-2.0, 0.0], [2.0, 0.0]]))
        >>> grid = torch.cartesian_prod(torch.linspace(-3, 3, 9), torch.linspace(-1, 1, 5))
        >>> stationary_points(pot, grid).kinds
        ('minimum', 'minimum', 'saddle')
    """
    _check_points("starts", starts, landscape.dim)
    check_positive("separation", separation)
    spread, low, high = spread_of(starts), starts.amin(0), starts.amax(0)

    def slope(x: Tensor) -> Tensor:
        return 0.5 * landscape.gradient(x).square().sum(-1)

    def slope_gradient(x: Tensor) -> Tensor:
        return (landscape.hessian(x) @ landscape.gradient(x).unsqueeze(-1)).squeeze(-1)

    def slope_hessian(x: Tensor) -> Tensor:
        h = landscape.hessian(x)
        return h @ h

    x = descend(slope, slope_gradient, slope_hessian, starts, max_length=0.1 * spread).x
    h = landscape.hessian(x)
    left = (torch.linalg.pinv(h, hermitian=True) @ landscape.gradient(x).unsqueeze(-1)).squeeze(-1)
    # A minimum of |grad E| that is not zero has a singular Hessian, and a long Newton step.
    steep = (
        landscape.gradient(x).norm(dim=-1) > 1e-6 * landscape.gradient(starts).norm(dim=-1).max()
    )
    inside = ((x >= low) & (x <= high)).all(-1)
    x = x[inside & ~steep & (left.norm(dim=-1) < 1e-4 * spread)]
    energies = landscape(x)
    kept = distinct(x, energies, separation * spread)
    x = x[kept]
    curvatures = torch.linalg.eigvalsh(landscape.hessian(x))
    return StationaryPoints(x, energies[kept], curvatures, tuple(map(_kind, curvatures.tolist())))


def _kind(curvatures: list[float]) -> str:
    if curvatures[0] > 0:
        return "minimum"
    return "maximum" if curvatures[-1] < 0 else "saddle"


@torch.no_grad()
def basins(landscape: Landscape, x: Tensor, minima: Tensor, *, doublings: int = 8) -> Tensor:
    """Which minimum the gradient flow from each point reaches: (*sample), -1 for none of them.

    Args:
        landscape: E.
        x: points (*sample, dim).
        minima: (m, dim), as from :func:`stationary_points` or :meth:`LSEICNN.minima`.
        doublings: the flow is followed for ten times the slowest relaxation time of the minima,
            and so many times twice as long for those that have not arrived.

    Raises:
        ValueError: for no minima or minima of no positive curvature, no points, or points of
            another dimension.

    Example:
        >>> from lse_vi import LSEICNN, WhitenedICNN
        >>> pot = LSEICNN(1, 2, hidden=(), rho=1.0, network=WhitenedICNN)
        >>> pot.network.reset_parameters(torch.tensor([[-3.0], [3.0]]))
        >>> minima = torch.tensor([[-3.0], [3.0]])
        >>> basins(pot, torch.tensor([[-1.0], [0.5], [4.0]]), minima).tolist()
        [0, 1, 1]
    """
    _check_points("x", x, landscape.dim)
    _check_points("minima", minima, landscape.dim, x.dtype)
    if not x.numel():
        raise ValueError(f"x is empty: shape {tuple(x.shape)}")
    if minima.dim() != 2 or not len(minima):
        raise ValueError(
            f"minima must have shape (m, {landscape.dim}) with m at least 1, but got "
            f"{tuple(minima.shape)}"
        )
    slowest = torch.linalg.eigvalsh(landscape.hessian(minima))[..., 0].min()
    if not bool(slowest > 0):
        raise ValueError(
            f"minima must have positive curvature, but the least curvature is {float(slowest):.3g}"
        )
    points = x.reshape(-1, landscape.dim).clone()
    label = torch.full(points.shape[:1], -1, device=x.device)
    time = 10.0 / float(slowest)
    # Points that are all at the one minimum have no spread: what counts there is the flow's error.
    error = max(1e-6, torch.finfo(x.dtype).eps ** 0.5) * (1 + minima.norm(dim=-1))
    reach = 1e-3 * torch.cat([minima, points]).std(0).norm() + error
    for _ in range(doublings + 1):
        away = label < 0
        points[away] = gradient_flow(landscape, points[away], [0.0, time])[-1]
        distance, nearest = torch.cdist(points, minima).min(-1)
        label = torch.where(away & (distance < reach[nearest]), nearest, label)
        if bool((label >= 0).all()):
            break
        time *= 2
    return label.reshape(x.shape[:-1])


def _check_points(name: str, x: Any, dim: int, dtype: torch.dtype | None = None) -> None:
    """``x`` must be a finite floating tensor (..., dim), of ``dtype`` if that is given."""
    if dtype is None and not (isinstance(x, Tensor) and x.is_floating_point()):
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} must be a tensor of floating-point numbers, but got {kind}")
    check_points(name, x, dim, dtype or x.dtype)
    check_finite(name, x)
