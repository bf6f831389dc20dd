"""Motion down a landscape: the gradient flow, and the basins of attraction of its minima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchdiffeq import odeint

from lse_vi.checks import check_count, check_finite, check_positive
from lse_vi.landscapes.blend import Blend
from lse_vi.landscapes.landscape import Landscape, OwnUnits, check_sample
from lse_vi.network.circle import apart
from lse_vi.numerics.arrays import as_floats
from lse_vi.signatures.checked import checked

FLOW_TOLERANCE = 1e-8  # relative, of a step
SMALL = 1e-3  # share of the distance from 0 that counts as a size, where the starts have no spread

EVALUATIONS = 100_000  # of the slope in one flow: some 20 seconds for a network of usual size
RELAXATIONS = 10.0  # first time of a flow, in slowest relaxation times: exp(-10) = 5e-5 remains
# Least error of the flow's end, in sizes of the region: a hundred times the default tolerance
# of a step. In float32 the root of the machine epsilon is larger.
FLOW_ERROR = 1e-6
REACH = 1e-3  # distance at which a point has arrived, in spreads of the points and minima


@checked
@torch.no_grad()
def gradient_flow(
    landscape: Landscape | Blend, x0: Tensor, times: Any, *, tolerance: float = FLOW_TOLERANCE
) -> Tensor:
    """Follow dx/dt = -grad E from many starts at once, for paths at given times.

    The method is that of Dormand & Prince (1980), with adaptive steps. Paths are continuous, so
    where E is periodic they may leave the period that they start in.

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
    t = as_floats("times", times).to(x0.device, torch.float64)
    check_finite("times", t)
    if t.dim() != 1 or len(t) < 2 or not bool((t.diff() > 0).all()):
        raise ValueError(f"times must be at least two increasing numbers, but got {t.tolist()}")
    if isinstance(landscape, Blend):
        blend = landscape
        return _follow(lambda now, x: blend.at(now).gradient(x), x0, t, tolerance)
    own = OwnUnits.of(landscape, x0)
    path = _follow(own.slope, own.place(x0), (t - t[0]) * own.rate, tolerance)
    return own.point(path).to(x0)


def _follow(
    slope: Callable[[float, Tensor], Tensor], x0: Tensor, t: Tensor, tolerance: float
) -> Tensor:
    """dx/dt = -slope(t, x) from ``x0`` (*sample, dim): (times, *sample, dim)."""
    flat = x0.reshape(-1, x0.shape[-1])
    size = (flat.amax(0) - flat.amin(0)).norm() + SMALL * flat.norm(dim=-1).amax()
    error = tolerance * (float(size) or 1.0)
    evaluations = 0

    def velocity(now: Tensor, x: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        if evaluations > EVALUATIONS:
            raise ValueError(
                f"times: after {EVALUATIONS:,} evaluations the flow is at {float(now):.3g} of "
                f"{t.tolist()[-1]:.3g}, as steps must be short where the landscape is steep; end "
                "earlier, or choose a larger tolerance"
            )
        return -slope(float(now), x)

    try:
        return odeint(velocity, x0, t.to(x0), rtol=tolerance, atol=error, method="dopri5")
    except AssertionError as failure:  # of torchdiffeq, which says "underflow in dt"
        raise ValueError(
            f"tolerance: no step is short enough for {tolerance:.3g} ({failure}); choose a larger "
            "one, or starts where the landscape is less steep"
        ) from failure


@checked
@torch.no_grad()
def basins(landscape: Landscape, x: Tensor, minima: Tensor, *, doublings: int = 8) -> Tensor:
    """The index of the minimum that the gradient flow from each point reaches, -1 for none.

    Use it to assign data to wells. Where E is periodic, distances are by the shorter way around.

    Args:
        landscape: the potential E.
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
    check_sample("minima", minima, landscape.dim)
    check_count("doublings", doublings, minimum=0)
    if not x.numel():
        raise ValueError(f"x is empty: shape {tuple(x.shape)}")
    if minima.dim() != 2 or not len(minima):
        raise ValueError(
            f"minima must have shape (m, {landscape.dim}) with m at least 1, but got "
            f"{tuple(minima.shape)}"
        )
    own = OwnUnits.of(landscape, x)
    inner, wells = own.inner, own.place(minima)
    slowest = float(own.relaxation(inner.hessian(wells))[..., 0].min())
    if not slowest > 0:
        raise ValueError(
            f"minima must have positive curvature, but the least curvature is {slowest:.3g}"
        )
    points = own.place(x).reshape(-1, landscape.dim)
    wells, points = (wells[0] + apart(wells[0], at, own.turn) for at in (wells, points))
    label = torch.full(points.shape[:1], -1, device=x.device)
    time = RELAXATIONS / slowest
    # Points that are all at the one minimum have no spread: what counts there is the flow's error.
    spread = torch.cat([wells, points]).std(0).norm()
    middle = wells.mean(0)
    size = spread + (wells - middle).norm(dim=-1) + SMALL * middle.norm()
    size = torch.where(spread > 0, size, 1 + middle.norm())
    reach = REACH * spread + max(FLOW_ERROR, torch.finfo(points.dtype).eps ** 0.5) * size
    for _ in range(doublings + 1):
        away = label < 0
        t = torch.tensor([0.0, time], dtype=torch.float64)
        points[away] = _follow(own.slope, points[away], t, FLOW_TOLERANCE)[-1]
        gaps = apart(points.unsqueeze(1), wells, own.turn).norm(dim=-1)
        distance, nearest = gaps.min(-1)
        label = torch.where(away & (distance < reach[nearest]), nearest, label)
        if bool((label >= 0).all()):
            break
        time *= 2
    return label.reshape(x.shape[:-1])
