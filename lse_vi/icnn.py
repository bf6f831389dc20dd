"""Stacks of input-convex networks: every mode and every batch element in one product per layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.nn.functional import softplus

from lse_vi.checks import check_count, check_counts


@dataclass(frozen=True)
class Layout:
    """Points laid out for the products, the batch of points last: ``x`` is (batch or 1, dim, n).

    ``moved`` are the batch dimensions in which there is one potential but many points, as in a
    Pyro plate over data: they are laid out with the samples.
    """

    x: Tensor
    sample_shape: Size
    batch_shape: Size
    moved: tuple[int, ...] = ()

    def restore(self, values: Tensor) -> Tensor:
        """Bring ``values`` (batch, *channels, n) back to (*sample, *batch, *channels)."""
        shape = self.sample_shape + self.batch_shape + values.shape[1:-1]
        values = values.movedim(-1, 0).reshape(shape)
        if not self.moved:
            return values
        first = len(self.sample_shape) - len(self.moved)
        return values.movedim(
            tuple(range(first, len(self.sample_shape))), tuple(first + axis for axis in self.moved)
        )

    def per_batch(self, values: Tensor, event: tuple[int, ...]) -> Tensor:
        """Lay out ``values`` (*batch, ...), one entry per potential, as (batch, *event)."""
        values = _drop(values, self.moved)
        depth = len(self.batch_shape)
        if values.shape[:depth] != self.batch_shape:
            values = values.expand(self.batch_shape + values.shape[depth:])
        return values.reshape(-1, *event)


def _drop(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """``values`` without the axes, all of size one."""
    return values.squeeze(axes) if axes else values


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
        """Shape of the batch of stacks."""
        return self.weight.shape[:-3]

    @property
    def modes(self) -> int:
        """Number of functions K per batch element."""
        return self.weight.shape[-3]

    @property
    def dim(self) -> int:
        """Dimension of x."""
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

    def squeeze(self, axes: tuple[int, ...]) -> ConvexStack:
        """Without the batch dimensions ``axes``, all of size one."""
        inner = tuple(_drop(w, axes) for w in self.inner)
        return ConvexStack(_drop(self.weight, axes), _drop(self.bias, axes), inner, self.frame_rows)

    def place(self, x: Tensor) -> tuple[ConvexStack, Layout]:
        """Lay ``x`` (*sample, *batch, dim) out for the products, broadcasting the batch shapes."""
        depth = len(self.batch_shape)
        shape = (1,) * (depth + 1 - x.dim()) + tuple(x.shape)
        split = len(shape) - 1 - depth
        sample, given = Size(shape[:split]), Size(shape[split:-1])
        if given.numel() == 1:  # the same points for every batch element
            return self, Layout(x.reshape(1, -1, self.dim).mT, sample, self.batch_shape)
        if any(n != m and 1 not in (n, m) for n, m in zip(given, self.batch_shape, strict=True)):
            raise ValueError(
                f"x must broadcast to (*sample, *batch, dim), but got shape {tuple(x.shape)} "
                f"for batch_shape {tuple(self.batch_shape)}"
            )
        x = x.reshape(shape)
        moved = tuple(i for i in range(depth) if self.batch_shape[i] == 1 and given[i] > 1)
        sample = sample + Size(given[i] for i in moved)
        x = x.movedim(tuple(split + i for i in moved), tuple(range(split, len(sample))))
        stack = self.squeeze(moved)
        batch = torch.broadcast_shapes(x.shape[len(sample) : -1], stack.batch_shape)
        stack = stack if batch == stack.batch_shape else stack.expand(batch)
        flat = x.expand(sample + batch + (self.dim,)).reshape(
            sample.numel(), batch.numel(), self.dim
        )
        return stack, Layout(flat.permute(1, 2, 0), sample, batch, moved)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Values (batch, modes, n) at ``x`` (batch or 1, dim, n), and what :meth:`pullback` needs.

        The second item holds the pre-activations of each layer, then the frame coordinates.
        """
        size = self.batch_shape.numel() * self.modes
        x = x.squeeze(0) if len(x) == 1 else x
        n = x.shape[-1]
        maps = (  # each worked out when it is needed, while the memory of the last is still warm
            _affine(bias, weight, x).view(size, width, n)
            for width, weight, bias in zip(
                self._widths, self._weights(x.shape[:-2]), self._biases(x.shape[:-2]), strict=True
            )
        )
        z, kept = next(maps), []
        for w in self.inner:
            kept.append(z)
            z = torch.baddbmm(next(maps), w.flatten(0, -3), activation(z))
        f = z.view(size // self.modes, self.modes, n)
        if self.frame_rows:
            kept.append(next(maps))
            f = f + 0.5 * kept[-1].square().sum(1).view_as(f)
        return f, kept

    def pullback(self, cotangent: Tensor, kept: list[Tensor]) -> Tensor:
        r"""sum_k c_k grad f_k, (batch, dim, n), for weights ``cotangent`` (batch, modes, n).

        Written out rather than left to autograd: a fit on gradients then needs one backward pass
        instead of two, and it works under ``no_grad``.
        """
        batch, modes, n = cotangent.shape
        lead = (batch,) if batch > 1 else ()
        delta = cotangent.reshape(batch * modes, 1, n)
        rows = [delta * kept[-1], delta] if self.frame_rows else [delta]
        for w, z in zip(reversed(self.inner), reversed(kept[: len(self.inner)]), strict=True):
            delta = torch.bmm(w.flatten(0, -3).mT, delta) * torch.sigmoid(z)
            rows.append(delta)
        total = cotangent.new_zeros(())
        for weight, row in zip(self._weights(lead), reversed(rows), strict=True):
            total = _affine(total, weight.mT, row.reshape(*lead, weight.shape[-2], n))
        return total.reshape(batch, self.dim, n)

    @property
    def _widths(self) -> list[int]:
        """Rows of each map that reads x: the layers, the output, the frame if there is one."""
        widths = [w.shape[-1] for w in self.inner] + [1]
        return [*widths, self.frame_rows] if self.frame_rows else widths

    def _weights(self, lead: Sequence[int]) -> list[Tensor]:
        """The weight (*lead, modes x rows, dim) of each map that reads x.

        One product for each: the result of a single one would have to be taken apart, and its
        gradient put together again, which costs more than the products.
        """
        return [v.reshape(*lead, -1, self.dim) for v in self.weight.split(self._widths, -2)]

    def _biases(self, lead: Sequence[int]) -> list[Tensor]:
        """The bias (*lead, modes x rows, 1) of each map that reads x."""
        return [b.reshape(*lead, -1, 1) for b in self.bias.split(self._widths, -1)]


def _affine(bias: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    """bias + weight x; a matrix is multiplied faster than a batch of one."""
    product = torch.addmm if weight.dim() == 2 else torch.baddbmm
    return product(bias, weight, x)


def activation(z: Tensor) -> Tensor:
    """Softplus; PyTorch's own turns linear at 20, a drop of 2e-9 that is not convex."""
    return softplus(z, threshold=40.0)


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

    Raises:
        TypeError: for a size that is not an integer.
        ValueError: for one below 1.

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
        lead = (*check_counts("batch_shape", batch_shape), modes)
        widths = (*check_counts("hidden", hidden), 1)
        like: dict[str, Any] = {"dtype": dtype, "device": device}
        self.weight = nn.Parameter(torch.empty(*lead, sum(widths), dim, **like))
        self.bias = nn.Parameter(torch.empty(*lead, sum(widths), **like))
        self.raw_inner = nn.ParameterList(
            torch.empty(*lead, above, below, **like) for below, above in pairwise(widths)
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(
        self, centers: Tensor | None = None, factors: Tensor | None = None, *, slope: float = 1.0
    ) -> None:
        """Start every mode as a bowl around its own centre.

        Args:
            centers: (*batch, modes, dim) in the units of x; drawn from N(0, 1) by default.
            factors: (*batch, modes, dim, dim), L with L^T L the inverse covariance of the points
                that the mode should cover; unit width by default.
            slope: standard deviation of the entries of V, in units of L.
        """
        if centers is None:
            centers = torch.randn_like(self.weight[..., 0, :])
        self.weight.normal_(0.0, slope)
        self.weight[..., -1, :] = 0.0  # no preferred direction: the bowl stays centred
        if factors is not None:
            self.weight.copy_(self.weight @ factors)
        self.bias.copy_(-(self.weight * centers.unsqueeze(-2)).sum(-1))
        for raw in self.raw_inner:
            raw.normal_(0.5, 0.3)
        if self.raw_inner:
            self.raw_inner[-1].add_(2.0)

    @torch.no_grad()
    def compose_affine_(self, shift: Tensor, scale: Tensor) -> None:
        """Replace f(x) by f((x - shift) / scale), in place; ``shift``, ``scale`` (*batch, dim)."""
        self.weight.div_(scale[..., None, None, :])
        self.bias.sub_((self.weight * shift[..., None, None, :]).sum(-1))

    @torch.no_grad()
    def scale_output_(self, factor: Tensor) -> None:
        """Replace every f by ``factor`` f, in place; ``factor`` (*batch,), positive."""
        self.weight[..., -1, :] *= factor[..., None, None]
        self.bias[..., -1] *= factor.unsqueeze(-1)
        if self.raw_inner:
            raw = self.raw_inner[-1]
            tiny = torch.finfo(raw.dtype).tiny
            raw.copy_(
                softplus_inverse(softplus(raw).clamp_min(tiny) * factor[..., None, None, None])
            )

    def inner(self) -> tuple[Tensor, ...]:
        """The non-negative maps W_2, ..., W_L, w: softplus(raw) over the fan-in."""
        return tuple(softplus(raw) / raw.shape[-1] for raw in self.raw_inner)

    def stack(self) -> ConvexStack:
        """The functions as plain tensors, gradients flowing."""
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

    Raises:
        TypeError, ValueError: as :class:`ICNN`.

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
        like: dict[str, Any] = {"dtype": dtype, "device": device}
        self.icnn = ICNN(dim, modes, hidden=hidden, batch_shape=batch_shape, **like)
        lead = (*batch_shape, modes)
        self.loc = nn.Parameter(torch.empty(*lead, dim, **like))
        self.log_diagonal = nn.Parameter(torch.empty(*lead, dim, **like))
        self.off_diagonal = nn.Parameter(torch.empty(*lead, dim, dim, **like))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(
        self, centers: Tensor | None = None, factors: Tensor | None = None, *, slope: float = 1.0
    ) -> None:
        """Start as Gaussians, with a small g; the arguments are those of :class:`ICNN`'s.

        ``factors`` are lower triangular with a positive diagonal.
        """
        self.icnn.reset_parameters(torch.zeros_like(self.loc), slope=slope)
        if self.icnn.raw_inner:
            self.icnn.raw_inner[-1].sub_(5.0)  # g starts as a correction, about a tenth of |u|^2/2
        self.loc.copy_(torch.randn_like(self.loc) if centers is None else centers)
        self.log_diagonal.zero_()
        self.off_diagonal.zero_()
        if factors is not None:
            self.log_diagonal.copy_(factors.diagonal(dim1=-2, dim2=-1).log())
            self.off_diagonal.copy_(factors.tril(-1))

    @torch.no_grad()
    def compose_affine_(self, shift: Tensor, scale: Tensor) -> None:
        """Replace f(x) by f((x - shift) / scale), in place; ``shift``, ``scale`` (*batch, dim)."""
        self.loc.mul_(scale.unsqueeze(-2)).add_(shift.unsqueeze(-2))
        self.log_diagonal.sub_(scale.log().unsqueeze(-2))
        self.off_diagonal.div_(scale[..., None, None, :])

    @torch.no_grad()
    def scale_output_(self, factor: Tensor) -> None:
        """Replace every f by ``factor`` f, in place; ``factor`` (*batch,), positive."""
        root = factor.sqrt()
        self.log_diagonal.add_(root.log()[..., None, None])
        self.off_diagonal.mul_(root[..., None, None, None])
        width = root.unsqueeze(-1).expand(*root.shape, self.loc.shape[-1])
        self.icnn.compose_affine_(torch.zeros_like(width), width)
        self.icnn.scale_output_(factor)

    def precision_factor(self) -> Tensor:
        """L, (*batch, modes, dim, dim): u = L (x - m)."""
        return self.off_diagonal.tril(-1) + torch.diag_embed(self.log_diagonal.exp())

    def stack(self) -> ConvexStack:
        """The functions as plain tensors, gradients flowing."""
        factor = self.precision_factor()
        # V u = (V L) x - (V L) m: the frame is folded into the maps that read x.
        weight = torch.cat([self.icnn.weight @ factor, factor], dim=-2)
        bias = nn.functional.pad(self.icnn.bias, (0, self.loc.shape[-1]))
        bias = bias - (weight @ self.loc.unsqueeze(-1)).squeeze(-1)
        return ConvexStack(weight, bias, self.icnn.inner(), frame_rows=self.loc.shape[-1])

    def frame_stack(self) -> ConvexStack:
        """The functions |u|^2/2 + g_k(u) of u itself: however narrow a mode, none is steep here."""
        dim, weight = self.loc.shape[-1], self.icnn.weight
        eye = torch.eye(dim).to(weight).expand(*weight.shape[:-2], dim, dim)
        bias = nn.functional.pad(self.icnn.bias, (0, dim))
        return ConvexStack(torch.cat([weight, eye], dim=-2), bias, self.icnn.inner(), dim)

    def forward(self, x: Tensor) -> Tensor:
        """(*sample, *batch, dim) -> (*sample, *batch, modes)."""
        stack, layout = self.stack().place(x)
        return layout.restore(stack.forward(layout.x)[0])


def whitened(network: nn.Module) -> WhitenedICNN:
    """``network``, known to have frames.

    Raises:
        ValueError: if its modes are plain.
    """
    if not isinstance(network, WhitenedICNN):
        raise ValueError(
            f"potential: expected strongly convex modes (network=WhitenedICNN), "
            f"but got {type(network).__name__}"
        )
    return network


NETWORKS: dict[str, type[ICNN | WhitenedICNN]] = {cls.__name__: cls for cls in (ICNN, WhitenedICNN)}
