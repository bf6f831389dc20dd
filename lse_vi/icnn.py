"""Stacks of input-convex networks: every mode and every batch element in one product per layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Size, Tensor, nn
from torch.nn.functional import softplus

from lse_vi.checks import check_count


@dataclass(frozen=True)
class Layout:
    """Points laid out for the products, the batch of points last: ``x`` is (batch or 1, dim, n)."""

    x: Tensor
    sample_shape: Size
    batch_shape: Size

    def restore(self, values: Tensor) -> Tensor:
        """Bring ``values`` (batch, channels, n) back to (*sample, *batch, channels)."""
        return values.permute(2, 0, 1).reshape(self.sample_shape + self.batch_shape + (-1,))


@dataclass(frozen=True)
class ConvexStack:
    r"""K convex functions per batch element, as plain tensors ready to evaluate.

    .. math::
        h_1 = \sigma(V_1 x + b_1), \quad h_l = \sigma(V_l x + W_l h_{l-1} + b_l), \quad
        f = v^T x + w^T h_L + b + \tfrac12 |R x + r|^2

    with W, w >= 0 and softplus as activation (paper Eq. 5; the last term is the frame of whitened
    modes). Every map that reads x stands in one ``weight``, so x is multiplied once.

    Args:
        weight: (*batch, modes, rows, dim), the rows V_1 | ... | V_L | v | R.
        bias: (*batch, modes, rows), in the same order.
        inner: W_2, ..., W_L, w, each (*batch, modes, width, previous width), non-negative.
        frame_rows: the number of rows that belong to the frame R; 0 for none.
    """

    weight: Tensor
    bias: Tensor
    inner: tuple[Tensor, ...]
    frame_rows: int = 0

    @property
    def batch_shape(self) -> Size:
        return self.weight.shape[:-3]

    @property
    def modes(self) -> int:
        return self.weight.shape[-3]

    @property
    def dim(self) -> int:
        return self.weight.shape[-1]

    def expand(self, batch_shape: Size) -> ConvexStack:
        """The same functions, broadcast to ``batch_shape``."""
        weight = self.weight.expand(batch_shape + self.weight.shape[-3:])
        bias = self.bias.expand(batch_shape + self.bias.shape[-2:])
        inner = tuple(w.expand(batch_shape + w.shape[-3:]) for w in self.inner)
        return ConvexStack(weight, bias, inner, self.frame_rows)

    def unstack(self) -> ConvexStack:
        """Each mode as a batch element of its own: batch shape (*batch, modes), one mode each."""
        inner = tuple(w.unsqueeze(-3) for w in self.inner)
        weight, bias = self.weight.unsqueeze(-3), self.bias.unsqueeze(-2)
        return ConvexStack(weight, bias, inner, self.frame_rows)

    def place(self, x: Tensor) -> tuple[ConvexStack, Layout]:
        """Lay ``x`` (*sample, *batch, dim) out for the products, broadcasting the batch shapes."""
        depth = len(self.batch_shape)
        shape = (1,) * (depth + 1 - x.dim()) + tuple(x.shape)
        split = len(shape) - 1 - depth
        sample, given = Size(shape[:split]), Size(shape[split:-1])
        if given.numel() == 1:  # the same points for every batch element
            return self, Layout(x.reshape(1, -1, self.dim).mT, sample, self.batch_shape)
        batch = torch.broadcast_shapes(given, self.batch_shape)
        stack = self if batch == self.batch_shape else self.expand(batch)
        wide = x.reshape(shape).expand(sample + batch + (self.dim,))
        flat = wide.reshape(sample.numel(), batch.numel(), self.dim)
        return stack, Layout(flat.permute(1, 2, 0), sample, batch)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Values (batch, modes, n) at ``x`` (batch or 1, dim, n), and what :meth:`pullback` needs.

        The second and third items are the pre-activations of each layer and the frame coordinates.
        """
        size, rows = self.batch_shape.numel() * self.modes, self.weight.shape[-2]
        weight = self.weight.reshape(x.shape[0], -1, self.dim)  # (batch or 1, all rows, dim)
        bias = self.bias.reshape(x.shape[0], -1, 1)
        affine = torch.baddbmm(bias, weight, x).reshape(size, rows, -1)  # (batch * modes, rows, n)

        widths = [w.shape[-1] for w in self.inner] + [1, self.frame_rows]
        *skips, frame = affine.split(widths, dim=1)
        z, layers = skips[0], []
        for w, skip in zip(self.inner, skips[1:], strict=True):
            layers.append(z)
            z = torch.baddbmm(skip, w.reshape(size, *w.shape[-2:]), softplus(z))
        f = z.squeeze(1)
        if self.frame_rows:
            f = f + 0.5 * frame.square().sum(1)
        return f.reshape(-1, self.modes, x.shape[-1]), layers, frame

    def pullback(self, cotangent: Tensor, layers: list[Tensor], frame: Tensor) -> Tensor:
        r"""sum_k c_k grad f_k, (batch, dim, n), for weights ``cotangent`` (batch, modes, n).

        Written out rather than left to autograd: a fit on gradients then needs one backward pass
        instead of two, and it works under ``no_grad``.
        """
        batch, modes, n = cotangent.shape
        delta = cotangent.reshape(batch * modes, 1, n)
        rows = [delta * frame, delta] if self.frame_rows else [delta]
        for w, z in zip(reversed(self.inner), reversed(layers), strict=True):
            delta = torch.bmm(w.reshape(-1, *w.shape[-2:]).mT, delta) * torch.sigmoid(z)
            rows.append(delta)
        stacked = torch.cat(rows[::-1], dim=1).reshape(batch, -1, n)  # V_1 | ... | V_L | v | R
        return torch.bmm(self.weight.reshape(batch, -1, self.dim).mT, stacked)


def softplus_inverse(y: Tensor) -> Tensor:
    """x with softplus(x) = y, for y > 0; exact where y is small or large."""
    return y + torch.log(-torch.expm1(-y))


class ICNN(nn.Module):
    r"""The paper's convex modes: K plain input-convex networks per batch element (Eq. 5).

    A plain network need not grow at infinity, so a density built on it needs ``bounds``.

    Args:
        dim: dimension of x.
        modes: number of networks K.
        hidden: widths of the hidden layers; () leaves an affine function.
        batch_shape: shape of a batch of independent stacks.

    Example:
        >>> net = ICNN(2, 3, hidden=(8, 8))
        >>> net(torch.zeros(5, 2)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        dim: int,
        modes: int,
        *,
        hidden: Sequence[int] = (10, 10),
        batch_shape: Sequence[int] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        check_count("dim", dim)
        check_count("modes", modes)
        for width in hidden:
            check_count("hidden", width)
        lead = (*batch_shape, modes)
        widths = (*hidden, 1)
        like = {"dtype": dtype, "device": device}
        self.weight = nn.Parameter(torch.empty(*lead, sum(widths), dim, **like))
        self.bias = nn.Parameter(torch.empty(*lead, sum(widths), **like))
        self.raw_inner = nn.ParameterList(
            torch.empty(*lead, above, below, **like)
            for below, above in zip(widths, widths[1:], strict=False)
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, centers: Tensor | None = None, *, slope: float = 1.0) -> None:
        """Start every mode as a bowl of unit width around its own centre.

        Args:
            centers: (*batch, modes, dim) in the units of x; drawn from N(0, 1) by default.
            slope: standard deviation of the entries of V.
        """
        if centers is None:
            centers = torch.randn_like(self.weight[..., 0, :])
        self.weight.normal_(0.0, slope)
        self.weight[..., -1, :] = 0.0  # no preferred direction: the bowl stays centred
        self.bias.copy_(-(self.weight * centers.unsqueeze(-2)).sum(-1))
        for raw in self.raw_inner:
            raw.normal_(0.5, 0.3)

    @torch.no_grad()
    def compose_affine_(self, shift: Tensor, scale: Tensor) -> None:
        """Replace f(x) by f((x - shift) / scale), in place; ``shift``, ``scale`` (*batch, dim)."""
        self.weight.div_(scale[..., None, None, :])
        self.bias.sub_((self.weight * shift[..., None, None, :]).sum(-1))

    def inner(self) -> tuple[Tensor, ...]:
        """The non-negative maps W_2, ..., W_L, w: softplus(raw) over the fan-in."""
        return tuple(softplus(raw) / raw.shape[-1] for raw in self.raw_inner)

    def stack(self) -> ConvexStack:
        return ConvexStack(self.weight, self.bias, self.inner())

    def forward(self, x: Tensor) -> Tensor:
        """(*sample, *batch, dim) -> (*sample, *batch, modes)."""
        stack, layout = self.stack().place(x)
        return layout.restore(stack.forward(layout.x)[0])


class WhitenedICNN(nn.Module):
    r"""Strongly convex modes in frames of their own, integrable on all of R^d.

    .. math:: f_k(x) = \tfrac12 |u|^2 + g_k(u), \qquad u = L_k (x - m_k)

    with g_k an :class:`ICNN` and L_k lower triangular with a positive diagonal (L = T^-1 of
    x = m + T u). Since g_k is convex, f_k grows at least as |u|^2/2 around its minimum: the fact
    on which exact samples and bounded importance weights rest. With ``hidden=()`` the density
    built on it is a Gaussian mixture.

    Args:
        dim, modes, hidden, batch_shape: as for :class:`ICNN`.

    Example:
        >>> net = WhitenedICNN(2, 3)
        >>> net(torch.zeros(5, 2)).shape, net.precision_factor().shape
        (torch.Size([5, 3]), torch.Size([3, 2, 2]))
    """

    def __init__(
        self,
        dim: int,
        modes: int,
        *,
        hidden: Sequence[int] = (10, 10),
        batch_shape: Sequence[int] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        like = {"dtype": dtype, "device": device}
        self.icnn = ICNN(dim, modes, hidden=hidden, batch_shape=batch_shape, **like)
        lead = (*batch_shape, modes)
        self.loc = nn.Parameter(torch.empty(*lead, dim, **like))
        self.log_diagonal = nn.Parameter(torch.empty(*lead, dim, **like))
        self.off_diagonal = nn.Parameter(torch.empty(*lead, dim, dim, **like))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, centers: Tensor | None = None, *, slope: float = 1.0) -> None:
        """Start as unit Gaussians at ``centers`` (drawn from N(0, 1)), with a small g."""
        self.icnn.reset_parameters(torch.zeros_like(self.loc), slope=slope)
        if self.icnn.raw_inner:
            self.icnn.raw_inner[-1].sub_(3.0)  # g starts as a correction, about a tenth of |u|^2/2
        self.loc.copy_(torch.randn_like(self.loc) if centers is None else centers)
        self.log_diagonal.zero_()
        self.off_diagonal.zero_()

    @torch.no_grad()
    def compose_affine_(self, shift: Tensor, scale: Tensor) -> None:
        """Replace f(x) by f((x - shift) / scale), in place; ``shift``, ``scale`` (*batch, dim)."""
        self.loc.mul_(scale.unsqueeze(-2)).add_(shift.unsqueeze(-2))
        self.log_diagonal.sub_(scale.log().unsqueeze(-2))
        self.off_diagonal.div_(scale[..., None, None, :])

    def precision_factor(self) -> Tensor:
        """L, (*batch, modes, dim, dim): u = L (x - m)."""
        return self.off_diagonal.tril(-1) + torch.diag_embed(self.log_diagonal.exp())

    def stack(self) -> ConvexStack:
        factor = self.precision_factor()
        # V u = (V L) x - (V L) m: the frame is folded into the maps that read x.
        weight = torch.cat([self.icnn.weight @ factor, factor], dim=-2)
        bias = nn.functional.pad(self.icnn.bias, (0, self.loc.shape[-1]))
        bias = bias - (weight @ self.loc.unsqueeze(-1)).squeeze(-1)
        return ConvexStack(weight, bias, self.icnn.inner(), frame_rows=self.loc.shape[-1])

    def forward(self, x: Tensor) -> Tensor:
        """(*sample, *batch, dim) -> (*sample, *batch, modes)."""
        stack, layout = self.stack().place(x)
        return layout.restore(stack.forward(layout.x)[0])


NETWORKS: dict[str, type[ICNN | WhitenedICNN]] = {cls.__name__: cls for cls in (ICNN, WhitenedICNN)}
