"""Motion down a landscape: the gradient flow, and the basins of attraction of its minima."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchdiffeq import odeint

from lse_vi.checks import check_positive
from lse_vi.landscapes.blend import Blend
from lse_vi.landscapes.landscape import Landscape, check_sample

RELAXATIONS = 10.0  # first time of a flow, in slowest relaxation times: exp(-10) = 5e-5 remains
# Least error of the flow's end, relative to 1 + |minimum|: a hundred times the default tolerance
# of a step. In float32 the root of the machine epsilon is larger.
FLOW_ERROR = 1e-6
REACH = 1e-3  # distance at which a point has arrived, in spreads of the points and minima


@torch.no_grad()
def gradient_flow(
    landscape: Landscape | Blend, x0: Tensor, times: Any, *, tolerance: float = 1e-8
) -> Tensor:
    """Follow dx/dt = -grad E from many starts at once, for paths at given times.

    The method is that of Dormand & Prince (1980), with adaptive steps.

    Args:
        landscape: E; a :class:`Blend` for one that changes with time.
        x0: starts (*sample, dim), at the first time.
        times: (times,), increasing.
        tolerance: relative and absolute error allowed in a step.

    Returns:
        Paths (times, *sample, dim).

    Raises:
        TypeError: for starts that are no floating tensor.
        ValueError: for times that do not increase, starts that are not finite or of another
            dimension, or a tolerance that is not positive.

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
    """The index of the minimum that the gradient flow from each point reaches, -1 for none.

    Use it to assign data to wells.

    Args:
        landscape: E.
        x: points (*sample, dim).
        minima: (m, dim), as from :func:`stationary_points` or :meth:`LSEICNN.minima`.
        doublings: the flow is first followed for ten times the slowest relaxation time of the
            minima. Points that have not arrived go on this many times, each twice as long as the
            time before.

    Returns:
        Indices into ``minima``, (*sample).

    Raises:
        TypeError: for points or minima that are no floating tensors of one dtype.
        ValueError: for no minima, minima without positive curvature, no points, or points of
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
    time = RELAXATIONS / float(slowest)
    # Points that are all at a single minimum have no spread: then the error of the flow decides.
    error = max(FLOW_ERROR, torch.finfo(x.dtype).eps ** 0.5) * (1 + minima.norm(dim=-1))
    reach = REACH * torch.cat([minima, points]).std(0).norm() + error
    for _ in range(doublings + 1):
        away = label < 0
        points[away] = gradient_flow(landscape, points[away], [0.0, time])[-1]
        distance, nearest = torch.cdist(points, minima).min(-1)
        label = torch.where(away & (distance < reach[nearest]), nearest, label)
        if bool((label >= 0).all()):
            break
        time *= 2
    return label.reshape(x.shape[:-1])
