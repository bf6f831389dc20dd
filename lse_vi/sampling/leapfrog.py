"""Leapfrog steps of Hamiltonian Monte Carlo, for many draws at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

Found = TypeVar("Found")  # what is known at a place, such as the log density


def leapfrog(
    force: Callable[[Tensor], tuple[Found, Tensor]],
    u: Tensor,
    p: Tensor,
    slope: Tensor,
    step: Tensor,
    leaps: int,
) -> tuple[Found, Tensor]:
    """Follow the motion of draws in a potential for some steps (Neal 2011, Sec. 2.3).

    Volume is kept and time can be reversed, whatever the force is.

    Args:
        force: what is known at (n, dim), and the slope of the log density there, (n, dim).
        u, p: places and momenta, (n, dim).
        slope: that at ``u``.
        step: (n, 1), of each draw.
        leaps: number of steps.

    Returns:
        What is known at the end, and the momenta there.

    Example:
        >>> import torch
        >>> at, still = torch.ones(5, 2), torch.zeros(5, 2)
        >>> end, p = leapfrog(lambda u: (u, -u), at, still, -at, torch.full((5, 1), 0.01), 157)
        >>> end.abs().max() < 0.01, (p + 1).abs().max() < 0.01  # a quarter of the period
        (tensor(True), tensor(True))
    """
    p = p + 0.5 * step * slope
    for leap in range(leaps):
        u = u + step * p
        found, slope = force(u)
        p = p + (1.0 if leap < leaps - 1 else 0.5) * step * slope
    return found, p
