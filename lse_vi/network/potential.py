"""The log-sum-exp potential of gated convex modes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Size, Tensor, nn

import lse_vi.network.copies as copies
import lse_vi.network.in_place as in_place
from lse_vi.checks import (
    as_number,
    check_broadcast,
    check_count,
    check_counts,
    check_fraction,
    check_index,
    check_points,
    check_positive,
)
from lse_vi.network.archive import write_archive
from lse_vi.network.circle import as_period
from lse_vi.network.convex_stack import ConvexStack, Layout
from lse_vi.network.gates import alpha_of, log_gate
from lse_vi.network.icnn import ICNN, WhitenedICNN, check_network, whitened
from lse_vi.network.images import place
from lse_vi.network.substitution import substitute
from lse_vi.network.units import Units
from lse_vi.numerics.linear_algebra import jacobian
from lse_vi.numerics.minima import Minima
from lse_vi.signatures.checked import checked
from lse_vi.signatures.gradients import usable, with_gradients

ACTIVE = 0.01  # least mean responsibility of a mode that counts: it carries 1 % of the data
LAYER_BYTES = 2**21  # largest layer that is evaluated at once, in bytes: it must fit in the cache
FORMAT = 3  # version of the files that save writes; load refuses later ones


class LSEICNN(nn.Module):
    r"""Log-sum-exp of K gated convex networks, a smooth minimum with wells (paper Eq. 3, 6).

    .. math::
        E(x) &= -\frac1\rho \log\Big(\frac1K \sum_k s_k e^{-\rho f_k(x)}\Big), \\
        s_k &= \mathrm{sigmoid}(10(\alpha_k/2 - 1))

    For large :math:`\rho` this is the minimum of the f_k. Use it wherever a smooth function with
    several wells is fitted, to energies or as the negative log of a density. E depends on gate and
    mode only through :math:`s_k e^{-\rho f_k}`, so gates alone do not tell how many modes are
    in use: count them by :meth:`active_modes`.

    Args:
        dim: dimension of x.
        modes: number of modes K.
        hidden: widths of the hidden layers of each mode.
        batch_shape: shape of a batch of independent potentials, as in ``torch.distributions``.
        rho: initial sharpness, in units of 1/E.
        gate: initial gate s_k of every mode, in (0, 1).
        network: :class:`ICNN` (plain, the paper's) or :class:`WhitenedICNN` (strongly convex).
        period: of x, a number or one per coordinate, None where x is not periodic. The sum is then
            over the images f_k(x + m P) too. It needs strongly convex modes.

    Raises:
        TypeError: for a size that is not an integer, or a network that is neither class.
        ValueError: for a size below 1, rho that is not positive, or a gate outside (0, 1); when
            called, for points of another dimension or dtype.

    Example:
        >>> pot = LSEICNN(2, 3, batch_shape=(4,))
        >>> x = torch.zeros(7, 4, 2)
        >>> pot(x).shape, pot.gradient(x).shape, pot.responsibilities(x).shape
        (torch.Size([7, 4]), torch.Size([7, 4, 2]), torch.Size([7, 4, 3]))
    """

    network: ICNN | WhitenedICNN

    @checked
    def __init__(
        self,
        dim: int,
        modes: int,
        *,
        hidden: Sequence[int] = (10, 10),
        batch_shape: Sequence[int] = (),
        rho: float = 2.0,
        gate: float = 0.99,
        network: type[ICNN | WhitenedICNN] = ICNN,
        period: Any = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.dim = check_count("dim", dim)
        self.modes = check_count("modes", modes)
        self.hidden = check_counts("hidden", hidden)
        check_positive("rho", rho)
        check_network(network)
        if not 0 < as_number("gate", gate) < 1:
            raise ValueError(f"gate must be in (0, 1), but got {gate}")
        like: dict[str, Any] = {"dtype": dtype, "device": device}
        self.network = network(dim, modes, hidden=hidden, batch_shape=batch_shape, **like)
        self.alpha = nn.Parameter(torch.full((*batch_shape, modes), alpha_of(gate), **like))
        self.log_rho = nn.Parameter(torch.full(tuple(batch_shape), math.log(rho), **like))
        self.units = Units(dim, batch_shape, device)
        if period is not None:
            whitened(self.network, "period")
            self.units.set_(period=as_period(period, dim))

    # -- what the parameters mean ---------------------------------------------------------------

    @property
    def batch_shape(self) -> Size:
        """Shape of the batch of potentials."""
        return self.alpha.shape[:-1]

    @property
    def log_gates(self) -> Tensor:
        """log s_k, (*batch, modes)."""
        return log_gate(self.alpha)

    @property
    def gates(self) -> Tensor:
        """s_k in (0, 1), (*batch, modes)."""
        return self.log_gates.exp()

    @property
    def rho(self) -> Tensor:
        """Sharpness, (*batch,), in units of 1/E."""
        rho = self.log_rho.exp()
        return rho if self.units.plain else rho / self.units.height

    @property
    def point_dtype(self) -> torch.dtype:
        """The type in which points are read without loss."""
        return self.alpha.dtype if self.units.plain else torch.float64

    # -- values and derivatives -----------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """E(x): (*sample, *batch, dim) -> (*sample, *batch)."""
        parts = []
        for part in self._split(x):
            _, layout, rho, logits, _ = self._evaluate(part)
            parts.append(layout.restore(self._energy(logits, rho)))
        return self.units.energies(parts[0] if len(parts) == 1 else torch.cat(parts), x.dtype)

    def mode_potentials(self, x: Tensor) -> Tensor:
        """f_k(x): (*sample, *batch, dim) -> (*sample, *batch, modes)."""
        if self.units.turn is None:
            f = self.network(self._read(x))
        else:
            _, layout, rho, logits, _ = self._evaluate(self._read(x))
            whole = layout.restore(logits.logsumexp(2) / rho)
            f = self.log_gates / self.log_rho.exp().unsqueeze(-1) - whole
        if self.units.plain:
            return f
        offset, height = self.units.offset.unsqueeze(-1), self.units.height.unsqueeze(-1)
        return (offset + height * f.double()).to(x.dtype)

    def responsibilities(self, x: Tensor) -> Tensor:
        """r_k(x) = softmax_k(log s_k - rho f_k): (*sample, *batch, dim) -> (..., modes)."""
        _, layout, _, logits, _ = self._evaluate(self._read(x))
        return layout.restore(_shares(logits).sum(2))

    def gradient(self, x: Tensor) -> Tensor:
        """grad E = sum_k r_k grad f_k: (*sample, *batch, dim) -> same shape."""
        return self.energy_and_gradient(x)[1]

    def energy_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """E(x) and grad E(x) from one pass through the network."""
        parts = []
        for part in self._split(x):
            stack, layout, rho, logits, kept = self._evaluate(part)
            gradient = stack.pullback(_shares(logits).flatten(2), kept)
            gradient = gradient.unflatten(-1, logits.shape[2:]).sum(2)  # over images
            parts.append((layout.restore(self._energy(logits, rho)), layout.restore(gradient)))
        energy, gradient = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
        return self.units.energies(energy, x.dtype), self.units.slopes(gradient, x.dtype)

    def hessian(self, x: Tensor) -> Tensor:
        """Second derivatives of E: (*sample, *batch, dim) -> (*sample, *batch, dim, dim)."""
        self._check(x)
        keep = torch.is_grad_enabled()
        lead = check_broadcast("x", x, self.batch_shape)
        with with_gradients():
            points = usable(x).expand(*lead, self.dim)
            points = points if points.requires_grad else points.detach().requires_grad_()
            return jacobian(self.gradient(points), points, create_graph=keep)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        """``x`` for the network, in pieces of its first sample dimension: layers of LAYER_BYTES.

        The system gives new memory to larger tensors at every call, which takes up to three times
        as long as the arithmetic.
        """
        x = self._read(x)
        if x.dim() <= self.alpha.dim():
            return [x]
        lead = max(x.shape[1:-1].numel(), self.batch_shape.numel())
        row = lead * self.modes * max(self.hidden, default=self.dim) * x.element_size()
        return x.split(max(1, LAYER_BYTES // row)) if row * len(x) > LAYER_BYTES else [x]

    def _check(self, x: Any, name: str = "x") -> None:
        """``x`` must be points of the parameters' type; of any precision if there are units."""
        free = not self.units.plain and isinstance(x, Tensor) and x.is_floating_point()
        check_points(name, x, self.dim, x.dtype if free else self.alpha.dtype)

    def _read(self, x: Tensor) -> Tensor:
        """Points as the network knows them."""
        self._check(x)
        x = x if self.units.plain else self.units.to_network(x)
        return self.units.around(x).to(self.alpha.dtype)

    def _evaluate(self, x: Tensor) -> tuple[ConvexStack, Layout, Tensor, Tensor, list[Tensor]]:
        """Stack, layout, rho, log s_k - rho f_k of all images, and what the gradient needs.

        The logits are (batch, modes, images, n), with one image where x is not periodic.
        """
        stack, layout, images = place(self, x)
        f, kept = stack.forward(layout.x)
        log_gates = layout.per_batch(self.log_gates, (self.modes, 1))
        rho = layout.per_batch(self.log_rho.exp(), (1, 1))
        return stack, layout, rho, (log_gates - rho * f).unflatten(-1, (images, -1)), kept

    def _energy(self, logits: Tensor, rho: Tensor) -> Tensor:
        """E (batch, n) from the logits log s_k - rho f_k (batch, modes, images, n)."""
        total = torch.logsumexp(logits.flatten(1, 2), dim=1)
        return (math.log(self.modes) - total) / rho.squeeze(-1)

    # -- wells and modes ------------------------------------------------------------------------

    @checked
    def active_modes(self, x: Tensor, *, threshold: float = ACTIVE) -> Tensor:
        """Mask (*batch, modes) of the modes in use: mean responsibility above ``threshold``.

        The mean is over ``x`` (n, *batch, dim), the data. Use its sum as the number of modes.
        """
        check_fraction("threshold", threshold)
        with torch.no_grad():
            return self.responsibilities(x).mean(0) > threshold

    def minima(self, starts: Tensor, *, separation: float = 1e-3) -> Minima:
        """Distinct minima of E reached by Newton descent from ``starts`` (n, dim): its wells.

        Args:
            starts: points to descend from: data, or a grid over the region of interest.
            separation: minima closer than this share of the starts' spread count as one.

        Raises:
            ValueError: for a batch of potentials (take one with :meth:`select`), starts that are
                not finite or of another dimension, or a separation that is not positive.
        """
        self._check(starts, "starts")
        return copies.minima(self, starts, separation)

    def prune(self, keep: Any) -> LSEICNN:
        """A potential with only the modes in the mask ``keep`` (*batch, modes), to drop idle ones.

        The modes kept contribute to E as before. In a batch each potential keeps its own modes;
        where one has fewer than another, the gates of its spare modes are closed.
        """
        return copies.prune(self, keep)

    def add_offset_(self, offset: Any) -> None:
        """Add ``offset`` (*batch,), finite, to E, in place."""
        in_place.add_offset(self, offset)

    def scale_energy_(self, factor: Any) -> None:
        """Replace E by ``factor`` E, in place; ``factor`` (*batch,), positive."""
        in_place.scale_energy(self, factor)

    # -- copies ---------------------------------------------------------------------------------

    def blank(self, modes: int, batch_shape: Sequence[int] | None = None) -> LSEICNN:
        """A new potential of the same kind, with its own random parameters.

        Args:
            modes: its number of modes.
            batch_shape: its batch shape; that of this potential by default.
        """
        batch_shape = self.batch_shape if batch_shape is None else batch_shape
        like: dict[str, Any] = {"dtype": self.alpha.dtype, "device": self.alpha.device}
        kind: dict[str, Any] = {"hidden": self.hidden, "network": type(self.network)}
        one = type(self)(self.dim, modes, batch_shape=batch_shape, **kind, **like)
        copies.hand_on_period(self, one)
        return one

    def resized(self, modes: int, batch_shape: Sequence[int] | None = None) -> LSEICNN:
        """A :meth:`blank` potential with this one's rho and gates, and the same parameters trained.

        Args:
            modes: its number of modes, at most that of this potential.
            batch_shape: its batch shape, which must end in (and by default is) this one's.
        """
        return copies.resized(self, modes, batch_shape)

    def without_units(self) -> LSEICNN:
        """E_0: this potential in its network's units, sharing its parameters."""
        if self.units.plain:
            return self
        return copies.with_units(self, period=self.units.period / self.units.scale)

    def unwrapped(self) -> LSEICNN:
        """The same modes on R^d, without images, sharing the parameters; self if not periodic."""
        own = {name: b for name, b in self.units.named_buffers() if name != "lap"}
        return self if self.units.turn is None else copies.with_units(self, **own)

    def absorbed(self) -> LSEICNN:
        """E with its units in the network's parameters, gradients flowing, in double precision."""
        return self if self.units.plain else copies.absorb_units(self)

    @checked
    def select(self, index: int | tuple[int, ...]) -> LSEICNN:
        """A copy of the potential at ``index`` of the batch, for what needs a single one."""
        return copies.select(self, check_index("index", index, self.batch_shape))

    @checked
    def with_parameters(self, tensors: Mapping[str, Tensor]) -> LSEICNN:
        """The same potential with some parameters replaced by ``tensors``, which keep their graph.

        Each tensor may have extra batch dimensions on the left: a sample of parameters from a
        guide makes a batch of potentials, which share the parameters that were not given.

        Raises:
            ValueError: for a name that is no parameter, or a shape that does not end in its own.
        """
        return substitute(self, tensors, batch_dims=len(self.batch_shape))

    # -- files ----------------------------------------------------------------------------------

    @checked
    def save(self, path: str | Path) -> None:
        """Write the potential to ``path``, whole or not at all; :func:`lse_vi.load` reads it."""
        write_archive("path", {"lse_vi": FORMAT, **copies.content_of(self)}, path)

    def extra_repr(self) -> str:
        """What ``print(pot)`` shows first."""
        return (
            f"dim={self.dim}, modes={self.modes}, hidden={self.hidden}, "
            f"batch_shape={tuple(self.batch_shape)}"
        )


def _shares(logits: Tensor) -> Tensor:
    """The softmax of logits (batch, modes, images, n) over modes and images."""
    return torch.softmax(logits.flatten(1, 2), dim=1).view_as(logits)
