"""Stacks of convex functions: every mode and every batch element in one product per layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Size, Tensor
from torch.nn.functional import softplus

# Values of all layers up to which one product computes them all: it saves calls, but with more
# values its memory traffic costs more than that.
TOGETHER = 200_000
LINEAR_FROM = 40.0  # z at which softplus(z) is set to z: they differ by exp(-40), below rounding


@dataclass(frozen=True)
class Layout:
    """Points as the matrix products need them, and the way back to the shape they came in.

    Attributes:
        x: the points, (batch or 1, dim, n).
        sample_shape: shape of the n points, with the ``moved`` dimensions at its end.
        batch_shape: shape of the batch, without the ``moved`` dimensions.
        moved: the batch dimensions in which there is one potential but many points, as in a Pyro
            plate over data: their points are treated as samples.
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
    """``values`` without ``axes``, which must be of size one."""
    return values.squeeze(axes) if axes else values


@dataclass(frozen=True)
class ConvexStack:
    r"""K convex functions per batch element, as plain tensors ready to evaluate.

    .. math::
        h_1 = \sigma(V_1 x + b_1), \quad h_l = \sigma(V_l x + W_l h_{l-1} + b_l), \quad
        f = v^T x + w^T h_L + b + \tfrac12 |R x + r|^2

    with W, w >= 0 and softplus as activation (paper Eq. 5; the last term is the frame of whitened
    modes). One ``weight`` holds every map that reads x, so that one product with x is enough. Build
    it once per evaluation, by ``network.stack()``.

    Args:
        weight: (*batch, modes, rows, dim), the rows V_1 | ... | V_L | v | R.
        bias: (*batch, modes, rows), in the same order.
        inner: W_2, ..., W_L, w, each (*batch, modes, width, previous width), non-negative.
        frame_rows: the number of rows that belong to the frame R; 0 for none.

    Example:
        >>> from lse_vi import ICNN
        >>> stack, layout = ICNN(2, 3).stack().place(torch.zeros(5, 2))
        >>> values, kept = stack.forward(layout.x)
        >>> values.shape, layout.restore(values).shape
        (torch.Size([1, 3, 5]), torch.Size([5, 3]))
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
        """The same functions without the batch dimensions ``axes``, which must be of size one."""
        inner = tuple(_drop(w, axes) for w in self.inner)
        return ConvexStack(_drop(self.weight, axes), _drop(self.bias, axes), inner, self.frame_rows)

    def place(self, x: Tensor) -> tuple[ConvexStack, Layout]:
        """This stack and ``x`` (*sample, *batch, dim), both ready for :meth:`forward`.

        Raises:
            ValueError: if the batch shapes do not broadcast.
        """
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
        maps = self._maps(x, size)
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

    def _maps(self, x: Tensor, size: int) -> Iterator[Tensor]:
        """The value at x of each map that reads x, (batch x modes, width, n), one after another."""
        n, lead, rows = x.shape[-1], x.shape[:-2], sum(self._widths)
        if size * rows * n <= TOGETHER:
            weight, bias = self.weight.reshape(*lead, -1, self.dim), self.bias.reshape(*lead, -1, 1)
            yield from _affine(bias, weight, x).view(size, rows, n).split(self._widths, 1)
            return
        # Each is computed when it is needed, while the previous layer is still in the cache.
        for width, weight, bias in zip(
            self._widths, self._weights(lead), self._biases(lead), strict=True
        ):
            yield _affine(bias, weight, x).view(size, width, n)

    @property
    def _widths(self) -> list[int]:
        """Rows of each map that reads x: the layers, the output, the frame if there is one."""
        widths = [w.shape[-1] for w in self.inner] + [1]
        return [*widths, self.frame_rows] if self.frame_rows else widths

    def _weights(self, lead: Sequence[int]) -> list[Tensor]:
        """The weight (*lead, modes x rows, dim) of each map that reads x.

        Each map has a product of its own: to split the result of a single product, and to join its
        gradient again, costs more than the products.
        """
        return [v.reshape(*lead, -1, self.dim) for v in self.weight.split(self._widths, -2)]

    def _biases(self, lead: Sequence[int]) -> list[Tensor]:
        """The bias (*lead, modes x rows, 1) of each map that reads x."""
        return [b.reshape(*lead, -1, 1) for b in self.bias.split(self._widths, -1)]


def _affine(bias: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    """bias + weight x, without a batch where there is one matrix, as that is faster."""
    product = torch.addmm if weight.dim() == 2 else torch.baddbmm
    return product(bias, weight, x)


def activation(z: Tensor) -> Tensor:
    """Softplus, convex up to rounding.

    PyTorch's default turns linear at z = 20, where its value drops by 2e-9: that is not convex.
    """
    return softplus(z, threshold=LINEAR_FROM)
