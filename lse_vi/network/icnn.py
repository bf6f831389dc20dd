"""Input-convex networks, K of them in one module: plain, or strongly convex in a frame each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lse_vi.checks import check_count, check_counts, check_points, check_size
from lse_vi.network.convex_stack import ConvexStack
from lse_vi.network.substitution import substitute
from lse_vi.random.draws import generator, randn_like
from lse_vi.signatures.checked import checked

# Mean and standard deviation of the raw inner weights at the start (dimensionless): softplus(0.5)
# is 0.97, so a layer keeps the scale of the one below; the deviation tells units apart.
RAW_MEAN, RAW_DEVIATION = 0.5, 0.3
# Added to the raw output weights of plain modes: it raises the curvature at the centre of the bowl
# to about one for two hidden layers, in the units of L.
BOWL = 2.0
# Subtracted again from those of whitened modes: g adds only 3 % to the curvature of |u|^2/2, so
# that the start is close to a Gaussian.
CORRECTION = 5.0


def softplus_inverse(y: Tensor) -> Tensor:
    """x with softplus(x) = y, for y > 0, accurate where y is small or large.

    Use it to set a positive parameter that is stored before softplus.

    Example:
        >>> softplus(softplus_inverse(torch.tensor(2.0)))
        tensor(2.)
    """
    return y + torch.log(-torch.expm1(-y))


class ICNN(nn.Module):
    r"""The paper's convex modes: K plain input-convex networks per batch element (Eq. 5).

    Use it for the potential itself, or for a density on a box: a plain network need not grow at
    infinity, so a density built on it needs ``bounds``.

    Args:
        dim: dimension of x.
        modes: number of networks K.
        hidden: widths of the hidden layers; () leaves an affine function.
        batch_shape: shape of a batch of independent stacks.

    Raises:
        TypeError: for a size that is not an integer.
        ValueError: for a size below 1.

    Example:
        >>> net = ICNN(2, 3, hidden=(8, 8))
        >>> net(torch.zeros(5, 2)).shape
        torch.Size([5, 3])
    """

    @checked
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
        check_size("dim, modes, hidden and batch_shape", math.prod(lead) * sum(widths) * dim)
        for above, below in pairwise(widths):
            check_size("hidden, modes and batch_shape", math.prod(lead) * above * below)
        like: dict[str, Any] = {"dtype": dtype, "device": device}
        self.weight = nn.Parameter(torch.empty(*lead, sum(widths), dim, **like))
        self.bias = nn.Parameter(torch.empty(*lead, sum(widths), **like))
        self.raw_inner = nn.ParameterList(
            torch.empty(*lead, above, below, **like) for below, above in pairwise(widths)
        )
        self.reset_parameters()

    @checked
    @torch.no_grad()
    def reset_parameters(
        self, centers: Tensor | None = None, factors: Tensor | None = None, *, slope: float = 1.0
    ) -> None:
        """Start every mode as a bowl around its own centre.

        Args:
            centers: (*batch, modes, dim) in the units of x; drawn from N(0, 1) by default.
            factors: (*batch, modes, dim, dim), L with L^T L the inverse covariance of the points
                that the mode must cover; the identity by default.
            slope: standard deviation of the entries of V, in units of L.
        """
        if centers is None:
            centers = randn_like(self.weight[..., 0, :])
        self.weight.normal_(0.0, slope, generator=generator(self.weight.device))
        self.weight[..., -1, :] = 0.0  # v = 0: a linear term would move the bowl off its centre
        if factors is not None:
            self.weight.copy_(self.weight @ factors)
        self.bias.copy_(-(self.weight * centers.unsqueeze(-2)).sum(-1))
        for raw in self.raw_inner:
            raw.normal_(RAW_MEAN, RAW_DEVIATION, generator=generator(raw.device))
        if self.raw_inner:
            self.raw_inner[-1].add_(BOWL)

    def _affine(self, shift: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """The parameters of f((x - shift) / scale) that are not those of f."""
        weight = self.weight / scale[..., None, None, :]
        return {"weight": weight, "bias": self.bias - (weight * shift[..., None, None, :]).sum(-1)}

    def _scaled(self, factor: Tensor) -> dict[str, Tensor]:
        """The parameters of ``factor`` f that are not those of f."""
        output = self.weight[..., -1:, :] * factor[..., None, None, None]
        constant = self.bias[..., -1:] * factor[..., None, None]
        tensors = {
            "weight": torch.cat([self.weight[..., :-1, :], output], dim=-2),
            "bias": torch.cat([self.bias[..., :-1], constant], dim=-1),
        }
        if self.raw_inner:
            raw = self.raw_inner[-1]
            strength = softplus(raw).clamp_min(torch.finfo(raw.dtype).tiny)
            last = softplus_inverse(strength * factor[..., None, None, None])
            tensors[f"raw_inner.{len(self.raw_inner) - 1}"] = last
        return tensors

    @checked
    @torch.no_grad()
    def compose_affine_(self, shift: Tensor, scale: Tensor) -> None:
        """Replace f(x) by f((x - shift) / scale), in place; ``shift``, ``scale`` (*batch, dim)."""
        _write(self, self._affine(shift, scale))

    @checked
    @torch.no_grad()
    def scale_output_(self, factor: Tensor) -> None:
        """Replace every f by ``factor`` f, in place; ``factor`` (*batch,), positive."""
        _write(self, self._scaled(factor))

    @checked
    @torch.no_grad()
    def add_offset_(self, offset: Tensor) -> None:
        """Add ``offset``, (*batch, modes) or (*batch, 1), to every f, in place."""
        self.bias[..., -1] += offset

    def inner(self) -> tuple[Tensor, ...]:
        """The non-negative maps W_2, ..., W_L, w: softplus(raw) divided by the fan-in."""
        return tuple(softplus(raw) / raw.shape[-1] for raw in self.raw_inner)

    def stack(self) -> ConvexStack:
        """The functions as plain tensors, gradients flowing."""
        return ConvexStack(self.weight, self.bias, self.inner())

    def forward(self, x: Tensor) -> Tensor:
        """(*sample, *batch, dim) -> (*sample, *batch, modes)."""
        check_points("x", x, self.weight.shape[-1], self.weight.dtype)
        stack, layout = self.stack().place(x)
        return layout.restore(stack.forward(layout.x)[0])


class WhitenedICNN(nn.Module):
    r"""Strongly convex modes, each in its own frame u: for densities on all of R^d.

    .. math:: f_k(x) = \tfrac12 |u|^2 + g_k(u), \qquad u = L_k (x - m_k)

    with g_k an :class:`ICNN` and L_k lower triangular with a positive diagonal (L = T^-1 where
    x = m + T u). Since g_k is convex, f_k grows at least as |u|^2/2 around its minimum, which
    makes exp(-f_k) integrable; exact draws and bounded importance weights rest on this. With
    ``hidden=()`` the density built on it is a Gaussian mixture.

    Args:
        dim, modes, hidden, batch_shape: as for :class:`ICNN`.

    Raises:
        TypeError, ValueError: as :class:`ICNN`.

    Example:
        >>> net = WhitenedICNN(2, 3)
        >>> net(torch.zeros(5, 2)).shape, net.precision_factor().shape
        (torch.Size([5, 3]), torch.Size([3, 2, 2]))
    """

    @checked
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
        check_size("dim, modes and batch_shape", math.prod(lead) * dim**2)
        self.loc = nn.Parameter(torch.empty(*lead, dim, **like))
        self.log_diagonal = nn.Parameter(torch.empty(*lead, dim, **like))
        self.off_diagonal = nn.Parameter(torch.empty(*lead, dim, dim, **like))
        self.reset_parameters()

    @checked
    @torch.no_grad()
    def reset_parameters(
        self, centers: Tensor | None = None, factors: Tensor | None = None, *, slope: float = 1.0
    ) -> None:
        """Start every mode close to a Gaussian, with a small g.

        The arguments are those of :meth:`ICNN.reset_parameters`; ``factors`` must be lower
        triangular with a positive diagonal.
        """
        self.icnn.reset_parameters(torch.zeros_like(self.loc), slope=slope)
        if self.icnn.raw_inner:
            self.icnn.raw_inner[-1].sub_(CORRECTION)
        self.loc.copy_(randn_like(self.loc) if centers is None else centers)
        self.log_diagonal.zero_()
        self.off_diagonal.zero_()
        if factors is not None:
            self.log_diagonal.copy_(factors.diagonal(dim1=-2, dim2=-1).log())
            self.off_diagonal.copy_(factors.tril(-1))

    def _affine(self, shift: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """The parameters of f((x - shift) / scale) that are not those of f."""
        return {
            "loc": self.loc * scale.unsqueeze(-2) + shift.unsqueeze(-2),
            "log_diagonal": self.log_diagonal - scale.log().unsqueeze(-2),
            "off_diagonal": self.off_diagonal / scale[..., None, None, :],
        }

    def _scaled(self, factor: Tensor) -> dict[str, Tensor]:
        """The parameters of ``factor`` f that are not those of f."""
        root = factor.sqrt()
        width = root.unsqueeze(-1).expand(*root.shape, self.loc.shape[-1])
        wide = substitute(
            self.icnn, self.icnn._affine(torch.zeros_like(width), width), batch_dims=root.dim()
        )
        return {
            "log_diagonal": self.log_diagonal + root.log()[..., None, None],
            "off_diagonal": self.off_diagonal * root[..., None, None, None],
            **{f"icnn.{name}": p for name, p in wide.named_parameters()},
            **{f"icnn.{name}": p for name, p in wide._scaled(factor).items()},
        }

    @checked
    @torch.no_grad()
    def compose_affine_(self, shift: Tensor, scale: Tensor) -> None:
        """Replace f(x) by f((x - shift) / scale), in place; ``shift``, ``scale`` (*batch, dim)."""
        _write(self, self._affine(shift, scale))

    @checked
    @torch.no_grad()
    def scale_output_(self, factor: Tensor) -> None:
        """Replace every f by ``factor`` f, in place; ``factor`` (*batch,), positive."""
        _write(self, self._scaled(factor))

    @checked
    def add_offset_(self, offset: Tensor) -> None:
        """Add ``offset``, (*batch, modes) or (*batch, 1), to every f, in place."""
        self.icnn.add_offset_(offset)

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
        """The functions |u|^2/2 + g_k(u) of u itself, well conditioned however narrow a mode is."""
        dim, weight = self.loc.shape[-1], self.icnn.weight
        eye = torch.eye(dim).to(weight).expand(*weight.shape[:-2], dim, dim)
        bias = nn.functional.pad(self.icnn.bias, (0, dim))
        return ConvexStack(torch.cat([weight, eye], dim=-2), bias, self.icnn.inner(), dim)

    def forward(self, x: Tensor) -> Tensor:
        """(*sample, *batch, dim) -> (*sample, *batch, modes)."""
        check_points("x", x, self.loc.shape[-1], self.loc.dtype)
        stack, layout = self.stack().place(x)
        return layout.restore(stack.forward(layout.x)[0])


def in_units(
    network: ICNN | WhitenedICNN, shift: Tensor, scale: Tensor, offset: Tensor, height: Tensor
) -> dict[str, Tensor]:
    """The parameters of offset + height f((x - shift) / scale), by name, gradients flowing.

    Args:
        shift, scale: (*batch, dim).
        offset, height: (*batch,).
    """
    depth = height.dim()
    moved = substitute(network, network._affine(shift, scale), batch_dims=depth)
    scaled = substitute(moved, moved._scaled(height), batch_dims=depth)
    tensors = dict(scaled.named_parameters())
    name = "bias" if isinstance(network, ICNN) else "icnn.bias"
    bias = tensors[name]
    constant = bias[..., -1:] + offset[..., None, None]
    return tensors | {name: torch.cat([bias[..., :-1], constant], dim=-1)}


@torch.no_grad()
def _write(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put ``tensors`` into the parameters of these names."""
    for name, tensor in tensors.items():
        module.get_parameter(name).copy_(tensor)


def whitened(network: nn.Module, name: str = "potential") -> WhitenedICNN:
    """``network`` as a :class:`WhitenedICNN`, for code that needs strongly convex modes.

    Args:
        network: of a potential.
        name: of the argument that needs them, for the error.

    Raises:
        ValueError: if its modes are plain.
    """
    if not isinstance(network, WhitenedICNN):
        raise ValueError(
            f"{name}: expected strongly convex modes (network=WhitenedICNN), "
            f"but got {type(network).__name__}"
        )
    return network


# The networks that a potential may have, by the names under which files hold them.
NETWORKS: dict[str, type[ICNN | WhitenedICNN]] = {cls.__name__: cls for cls in (ICNN, WhitenedICNN)}


def check_network(network: Any) -> None:
    """``network`` must be one of the classes of NETWORKS, or a subclass."""
    if not (isinstance(network, type) and issubclass(network, tuple(NETWORKS.values()))):
        raise TypeError(f"network must be {' or '.join(NETWORKS)}, a class, but got {network!r}")
