"""Motion down a landscape: the gradient flow, and the basins that it ends in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchdiffeq import odeint

from lse_vi.checks import check_positive
from lse_vi.landscapes.blend import Blend
from lse_vi.landscapes.landscape import Landscape, check_sample


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
    check_sample("x0", x0, dim)
    check_positive("tolerance", tolerance)
    t = torch.as_tensor(times).to(x0)
    if t.dim() != 1 or len(t) < 2 or not bool((t.diff() > 0).all()):
        raise ValueError(f"times must be at least two increasing numbers, but got {t.tolist()}")

    def rate(now: Tensor, x: Tensor) -> Tensor:
        fixed = landscape.at(float(now)) if isinstance(landscape, Blend) else landscape
        return -fixed.gradient(x)

    return odeint(rate, x0, t, rtol=tolerance, atol=tolerance, method="dopri5")


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
    check_sample("x", x, landscape.dim)
    check_sample("minima", minima, landscape.dim, x.dtype)
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
