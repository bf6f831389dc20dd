r"""Many convex functions of at most one hidden layer, at the same points: what is summed over them.

.. math:: f(x) = q \cdot \varphi(x) + \sum_j c_j \, \mathrm{softplus}(a_j \cdot x + b_j)

with phi(x) = 1, x_i, x_i x_j for i <= j. A posterior of a density asks for a hundred million values
of such functions and for the gradient of a sum of them. Both are found here together, block by
block in the processor's cache: autograd keeps every array of a pass, which takes three times as
long. A second derivative is left to autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lse_vi.network.convex_stack import activation

BLOCK = 40_000  # numbers in an array of one block: five such arrays of float64 fit in a cache
Value = Callable[..., tuple[Tensor, ...]]


class Shallow(NamedTuple):
    """The functions, in any batch shape.

    Attributes:
        a: (*batch, units, dim).
        b, c: (*batch, units).
        q: coefficients of phi, (*batch, features) or only the first of them.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    q: Tensor

    @classmethod
    def of_stack(cls, weight: Tensor, bias: Tensor, out: Tensor) -> Shallow:
        """Those of a ConvexStack without a frame, with one hidden layer or none.

        Args:
            weight: (*batch, units + 1, dim), the output's row last.
            bias: (*batch, units + 1).
            out: weights of the output, (*batch, 1, units).
        """
        q = torch.cat([bias[..., -1:], weight[..., -1, :]], -1)
        return cls(weight[..., :-1, :], bias[..., :-1], out.squeeze(-2), q)


class Points(NamedTuple):
    """Points and phi at them, with a weight or a log weight for each.

    Attributes:
        x: (dim, n).
        phi: (features, n).
        weights: (n,).
    """

    x: Tensor
    phi: Tensor
    weights: Tensor


def place(x: Tensor, weights: Tensor) -> Points:
    """Points x (n, dim) with phi.

    Example:
        >>> place(torch.zeros(5, 2), torch.ones(5)).phi.shape
        torch.Size([6, 5])
    """
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    columns = x.mT.contiguous()
    return Points(
        columns,
        torch.cat([torch.ones_like(x[:, :1]).mT, columns, columns[i] * columns[j]]),
        weights,
    )


def log_mixture(f: Shallow, points: Points) -> Tensor:
    r""":math:`\sum_i w_i \log \sum_k e^{-f_k(x_i)}`, for functions of batch shape (n, modes): (n,).

    Example:
        >>> f = Shallow(torch.zeros(2, 3, 1, 1), *(torch.zeros(2, 3, k) for k in (1, 1, 3)))
        >>> log_mixture(f, place(torch.zeros(1, 1), torch.ones(1))).exp()
        tensor([3., 3.])
    """
    return _LogMixture.apply(*f, *points)


def moments(f: Shallow, nodes: Points) -> tuple[Tensor, Tensor]:
    r"""Of the laws with weights :math:`\propto w_i e^{-f(x_i)}`, with ``nodes.weights`` log w.

    Returns:
        The log of the sum of the weights (*batch,), and the means of phi (*batch, features).
    """
    lead = f.b.shape[:-1]
    flat = (f.a.flatten(0, -3), *(part.flatten(0, -2) for part in f[1:]))
    log_z, mean = _Moments.apply(*flat, *nodes)
    return log_z.reshape(lead), mean.reshape(*lead, -1)


def _values(a: Tensor, b: Tensor, c: Tensor, q: Tensor, phi: Tensor) -> Any:
    """f (n, points), and what :func:`_pullback` needs: arguments and values of the units."""
    n, units, dim = a.shape
    f = q @ phi[: q.shape[-1]]
    z = (torch.cat([b.unsqueeze(-1), a], -1).view(n * units, dim + 1) @ phi[: dim + 1]).view(
        n, units, phi.shape[1]
    )
    h = activation(z)
    for j in range(units):
        f.addcmul_(c[:, j : j + 1], h[:, j])
    return f, z, h


def _pullback(
    delta: Tensor, z: Tensor, h: Tensor, a: Tensor, c: Tensor, q: Tensor, phi: Tensor
) -> tuple[Tensor, ...]:
    """Gradients in a, b, c, q of sum delta f, for delta (n, points); z is used up."""
    n, units, dim = a.shape
    of_c = torch.empty_like(c)
    slope = z.sigmoid_()
    for j in range(units):
        of_c[:, j] = torch.linalg.vecdot(delta, h[:, j])
        slope[:, j].mul_(delta)
    affine = slope.view(n * units, phi.shape[1]) @ phi[: dim + 1].mT  # in b, then in a
    affine = affine.view(n, units, dim + 1) * c.unsqueeze(-1)
    return affine[..., 1:], affine[..., 0], of_c, delta @ phi[: q.shape[-1]].mT


class _LogMixture(torch.autograd.Function):
    """See :func:`log_mixture`. The gradient, of few numbers, is found on the way forward."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        *f, x, phi, weights = inputs
        n, modes, units, _ = f[0].shape
        wanted = any(ctx.needs_input_grad)
        step = max(1, BLOCK // (modes * max(units, 1) * x.shape[1]))
        sums, gradients = [], []
        for block in zip(*(part.split(step) for part in f), strict=True):
            a, b, c, q = (part.flatten(0, 1) for part in block)
            value, z, h = _values(a, b, c, q, phi)
            value = value.view(-1, modes, x.shape[1])
            low = value.amin(1, keepdim=True)
            share = value.neg_().add_(low).exp_()
            total = share.sum(1, keepdim=True)
            sums.append((total.log() - low).squeeze(1) @ weights)
            if wanted:
                delta = share.mul_(-weights / total).flatten(0, 1)
                gradients.append(_pullback(delta, z, h, a, c, q, phi))
        if wanted:
            parts = [
                torch.cat(part).unflatten(0, (n, modes)) for part in zip(*gradients, strict=True)
            ]
            ctx.save_for_backward(*inputs, *parts)
        return torch.cat(sums)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        inputs, gradients = ctx.saved_tensors[:7], ctx.saved_tensors[7:]
        if torch.is_grad_enabled():
            return _again(_plain_log_mixture, inputs, (cotangent,))
        scale = cotangent.reshape(-1, 1, 1)
        of_a, *others = gradients
        return scale.unsqueeze(-1) * of_a, *(scale * part for part in others), None, None, None


class _Moments(torch.autograd.Function):
    """See :func:`moments`."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        a, b, c, q, _, phi, log_w = inputs
        value, z, h = _values(a, b, c, q, phi)
        log_p = log_w - value
        log_z = log_p.logsumexp(-1)
        p = log_p.sub_(log_z.unsqueeze(-1)).exp_()
        mean = p @ phi.mT
        ctx.save_for_backward(*inputs, z, h, p, mean)
        return log_z, mean

    @staticmethod
    def backward(ctx: Any, of_z: Tensor, of_mean: Tensor) -> Any:
        inputs, (z, h, p, mean) = ctx.saved_tensors[:7], ctx.saved_tensors[7:]
        if torch.is_grad_enabled():
            return _again(_plain_moments, inputs, (of_z, of_mean))
        a, _, c, q, _, phi, _ = inputs
        level = of_z - (of_mean * mean).sum(-1)
        delta = torch.addmm(level.unsqueeze(-1), of_mean, phi).mul_(p).neg_()
        return *_pullback(delta, z.clone(), h, a, c, q, phi), None, None, None


def _plain(a: Tensor, b: Tensor, c: Tensor, q: Tensor, x: Tensor, phi: Tensor) -> Tensor:
    """f (*batch, points), for autograd."""
    h = activation(a @ x + b.unsqueeze(-1))
    return q @ phi[: q.shape[-1]] + (c.unsqueeze(-1) * h).sum(-2)


def _plain_log_mixture(*inputs: Tensor) -> tuple[Tensor]:
    a, b, c, q, x, phi, weights = inputs
    return (torch.logsumexp(-_plain(a, b, c, q, x, phi), -2) @ weights,)


def _plain_moments(*inputs: Tensor) -> tuple[Tensor, Tensor]:
    a, b, c, q, x, phi, log_w = inputs
    log_p = log_w - _plain(a, b, c, q, x, phi)
    log_z = log_p.logsumexp(-1)
    return log_z, (log_p - log_z.unsqueeze(-1)).exp() @ phi.mT


def _again(value: Value, inputs: tuple[Tensor, ...], cotangents: tuple[Tensor, ...]) -> Any:
    """Gradients in the first four inputs that can be differentiated once more."""
    # Views, as one input may be computed from another: what is asked for are partial derivatives.
    fresh = [part.view_as(part) for part in inputs]
    wanted = [part for part in fresh if part.requires_grad]
    found = iter(torch.autograd.grad(value(*fresh), wanted, cotangents, create_graph=True))
    return tuple(next(found) if part.requires_grad else None for part in fresh)
