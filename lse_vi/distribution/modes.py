"""The modes one by one: the minimum of each, and its weight in the mixture M of the bounds."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.network.convex_stack import ConvexStack
from lse_vi.network.icnn import whitened
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.linear_algebra import jacobian
from lse_vi.numerics.newton import descend


class ModeMinima(NamedTuple):
    """The minimiser x of every mode, with f and its derivatives there; all (*batch, modes, ...).

    The derivatives are by the coordinates u of the mode's frame: there the gradient is zero up to
    rounding, and no eigenvalue of the Hessian is below one.
    """

    x: Tensor
    f: Tensor
    gradient: Tensor
    hessian: Tensor


def log_weights(pot: LSEICNN) -> Tensor:
    """log (s_k/K)^p, the weights of the mixture M: (*batch, modes)."""
    return (pot.log_gates - math.log(pot.modes)) / pot.rho.unsqueeze(-1)


def log_factor(pot: LSEICNN) -> Tensor:
    """log of the least C with exp(-E) <= C M, (*batch,): (p - 1) log K for p >= 1, else 0."""
    return ((1 / pot.rho - 1) * math.log(pot.modes)).clamp_min(0.0)


class SingleModes:
    """The modes of a stack as a batch (*batch, modes) of convex functions, each at its own x."""

    def __init__(self, stack: ConvexStack) -> None:
        self.stack = stack.unstack()

    def value(self, x: Tensor) -> Tensor:
        """f_k at ``x`` (*sample, *batch, modes, dim)."""
        stack, layout = self.stack.place(x)
        return layout.restore(stack.forward(layout.x)[0]).squeeze(-1)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f_k and grad f_k at ``x`` (*sample, *batch, modes, dim)."""
        stack, layout = self.stack.place(x)
        f, kept = stack.forward(layout.x)
        gradient = stack.pullback(torch.ones_like(f), kept)
        return layout.restore(f).squeeze(-1), layout.restore(gradient)

    def hessian(self, x: Tensor) -> Tensor:
        """Second derivatives of f_k at ``x`` (*batch, modes, dim)."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return jacobian(self.value_and_gradient(x)[1], x)


@torch.no_grad()
def mode_minima(pot: LSEICNN) -> ModeMinima:
    """Minimise every strongly convex mode by Newton's method, in its own frame.

    In the frame the curvature is at least one, so a badly conditioned L_k does no harm.

    Raises:
        ValueError: for plain modes.

    Example:
        >>> from lse_vi import WhitenedICNN
        >>> mode_minima(LSEICNN(2, 3, network=WhitenedICNN)).x.shape
        torch.Size([3, 2])
    """
    network = whitened(pot.network)
    modes = SingleModes(network.frame_stack())
    end = descend(
        modes.value,
        lambda u: modes.value_and_gradient(u)[1],
        modes.hessian,
        torch.zeros_like(network.loc),
    )
    step = torch.linalg.solve_triangular(
        network.precision_factor(), end.x.unsqueeze(-1), upper=False
    )
    return ModeMinima(network.loc + step.squeeze(-1), *modes.value_and_gradient(end.x), end.hessian)
