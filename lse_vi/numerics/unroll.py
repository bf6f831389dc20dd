r"""States h_1, h_2, ... of a recurrence, with gradients through time at the price of one step.

The usual way, a graph over all steps, spends its time on many small operations. Here the states
are found first, without a graph. Then one step is taken from all of them at once: it gives the
Jacobians J_n = dh_{n+1}/dh_n, and a graph for the parameters. The rest of the chain rule is the
linear recursion of the adjoints, one small product per step:

.. math:: \lambda_n = \partial L/\partial h_n + J_n^T \lambda_{n+1}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lse_vi.numerics.linear_algebra import jacobian

Step = Callable[..., Tensor]


def unroll(step: Step, start: Tensor, *drives: Tensor) -> Tensor:
    """The states of h_{n+1} = step(h_n, *drives_n), the start first: (times + 1, *batch, states).

    Use it to train a recurrence over many times. First derivatives flow to the start, the drives
    and the parameters of ``step``; second derivatives do not exist.

    Args:
        step: maps states (*batch, states) and a time slice of each drive to the next states. It
            must treat every element of the batch on its own, and take leading axes: it is also
            called with (times, *batch, states) and whole drives.
        start: h_0, (*batch, states).
        drives: tensors (times, *batch, anything).

    Example:
        >>> decay = torch.tensor(0.5, requires_grad=True)
        >>> h = unroll(lambda h, u: decay * h + u, torch.ones(1), torch.zeros(3, 1))
        >>> h.flatten().tolist()
        [1.0, 0.5, 0.25, 0.125]
        >>> h[-1].sum().backward()
        >>> float(decay.grad)  # 3 decay^2
        0.75
    """
    with torch.no_grad():
        states = [start]
        for slices in zip(*drives, strict=True):
            states.append(step(states[-1], *slices))
        path = torch.stack(states)
    if not step(start.unsqueeze(0), *(drive[:1] for drive in drives)).requires_grad:
        return path
    before = path[:-1].requires_grad_()
    after = step(before, *drives)
    return _Chain.apply(start, after, jacobian(after, before))


class _Chain(torch.autograd.Function):
    """Concatenates the start and the next states; backward is the recursion of the adjoints."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, after: Tensor, jacobians: Tensor) -> Tensor:
        ctx.save_for_backward(jacobians)
        return torch.cat([start.unsqueeze(0), after])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (jacobians,) = ctx.saved_tensors
        adjoint = grad.clone()
        transposed = jacobians.mT.contiguous()
        for n in range(len(transposed) - 1, -1, -1):
            adjoint[n] += (transposed[n] @ adjoint[n + 1].unsqueeze(-1)).squeeze(-1)
        return adjoint[0], adjoint[1:], None
