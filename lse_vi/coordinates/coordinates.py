r"""Coordinates of a density that the data determine: the mass, mean and scale of each mode.

The parameters of a network compensate for one another: a mode's place for the slopes of g_k, its
frame for their strength, its gate for its offset. In these parameters a posterior is a curved
ridge, which no Gaussian fits and no Markov chain explores. Here every mode is standardised:

.. math::
    q(x) = \sum_k \pi_k \, |P_k| \, h_k(P_k (x - m_k)), \qquad
    h_k(v) \propto \exp(-\tfrac12 |u|^2 - g_k(u)), \quad u = \mu_k + R_k v,

where mu_k and R_k R_k^T are the mean and covariance of exp(-|u|^2/2 - g_k). So h_k has mean 0 and
covariance 1, and pi_k, m_k and (P_k^T P_k)^-1 are the mass, mean and covariance of the mode,
whatever its shape. g_k is an ICNN minus its tangent at 0. So a mode peaks at u = 0 and stays below
the Gaussian, and its moments can be computed on fixed nodes that are dense at 0. The result is an
LSE-ICNN with rho = 1 that needs no log Z: exp(-E) is normalised.

On an interval of the line each h_k is the same law given that x is inside: the mass pi_k is that in
the interval, m_k and P_k are those of the law before the cut, as for a truncated normal. A mode may
peak outside, which makes its part inside fall off like an exponential.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Size, Tensor
from torch.nn.functional import pad, softplus

from lse_vi.coordinates.nodes import NODE_RADIUS, STEEPEST, ball, between
from lse_vi.coordinates.prior import Prior, check_prior
from lse_vi.distribution.box import Box
from lse_vi.network.convex_stack import ConvexStack
from lse_vi.network.gates import log_gate
from lse_vi.network.icnn import WhitenedICNN
from lse_vi.network.potential import LSEICNN
from lse_vi.network.shallow import Shallow, moments, place
from lse_vi.numerics.linear_algebra import log_det

# Added to variances in the frame: a law on one node, far out in a proposal's tail, has variance 0.
NODE_VARIANCE = 1e-9
OPEN = 3.0  # the parameter alpha of every gate: open and fixed, as the masses weigh the modes
LOG_GATE = float(log_gate(torch.tensor(OPEN, dtype=torch.float64)))  # log s_k: the offsets undo it


class ModeCoordinates:
    """The map from coordinates ``theta`` (*batch, size) to potentials, and their prior.

    Use it to read ``theta`` of a :class:`~lse_vi.DensityPosterior`: :meth:`split` gives its parts
    by name, :meth:`masses` the masses of the modes.

    ``theta`` holds one block for each mode, all of the same layout, so a relabelling of the modes
    permutes the blocks. Hidden units would be exchangeable too. So each has an axis of its own and
    a direction along it, right and left in turn.

    Args:
        shift, scale: the mean and standard deviation of the data, (dim,) each. The potentials are
            in the data's units, ``theta`` and its prior in standardised ones.
        modes: number of modes K.
        hidden: widths of the hidden layers of each g_k; () makes Gaussian modes.
        prior: of ``theta``; weakly informative by default.
        bounds: (low, high) of the support in one dimension, None for an open side.

    Raises:
        TypeError: if ``prior`` is not a :class:`~lse_vi.Prior`.
        ValueError: if an entry of ``prior`` is not a mean with a standard deviation > 0, or for
            bounds in more than one dimension.

    Example:
        >>> at = ModeCoordinates(torch.zeros(2), torch.ones(2), modes=3, hidden=(4,))
        >>> at.size, at.potential(at.prior_mean).batch_shape, dict(at.parts)["mean"]
        (66, torch.Size([]), torch.Size([2]))
    """

    def __init__(
        self,
        shift: Tensor,
        scale: Tensor,
        *,
        modes: int,
        hidden: Sequence[int] = (2,),
        prior: Prior | None = None,
        bounds: Any = None,
    ) -> None:
        prior = check_prior(prior or Prior())
        self.shift, self.scale, self.modes = shift, scale, modes
        self.dim, self.hidden = len(shift), tuple(hidden)
        self.box = None if bounds is None else Box.of(bounds, self.dim, shift)
        if self.box is not None and self.dim > 1:
            raise ValueError(
                f"bounds: a posterior takes them in one dimension, but x has {self.dim}; use "
                "fit_density(x, bounds=...), or give log(x) where x is positive"
            )
        self.template = LSEICNN(
            self.dim, modes, hidden=self.hidden, network=WhitenedICNN, rho=1.0, dtype=shift.dtype
        ).requires_grad_(False)
        dim, units = self.dim, sum(self.hidden)
        self.parts: list[tuple[str, Size]] = [("mass", Size()), ("mean", Size([dim]))]
        self.parts += [("log_scale", Size([dim])), ("tilt", Size([dim * (dim - 1) // 2]))]
        self.parts += [("slope", Size([units])), ("turn", Size([units, dim - 1]))]
        self.parts += [("bend", Size([units]))]
        for i, (below, above) in enumerate(pairwise((*self.hidden, 1))):
            name = "strength" if i == len(self.hidden) - 1 else f"inner.{i}"
            self.parts.append((name, Size([above, below])))
        moments = [prior._asdict()[name.split(".")[0]] for name, _ in self.parts]
        counts = torch.tensor([shape.numel() for _, shape in self.parts])
        per_mode = torch.tensor(moments).to(shift).repeat_interleave(counts, dim=0)
        self.prior_mean, self.prior_sd = per_mode.repeat(modes, 1).unbind(-1)
        self.axis = torch.tensor([(j // 2) % dim for width in self.hidden for j in range(width)])
        self.sign = torch.tensor([(-1.0) ** j for w in self.hidden for j in range(w)]).to(shift)
        self.nodes = place(*(part.to(shift) for part in ball(dim)))

    @property
    def standardised(self) -> ModeCoordinates:
        """The same coordinates for data of mean 0 and deviation 1."""
        other = copy.copy(self)
        other.shift, other.scale = torch.zeros_like(self.shift), torch.ones_like(self.scale)
        if self.box is not None:
            other.box = Box(self.place(self.box.low), self.place(self.box.high))
        return other

    @property
    def log_volume(self) -> Tensor:
        """log of the volume of a standardised unit in the units of the data."""
        return self.scale.log().sum()

    def place(self, x: Tensor) -> Tensor:
        """Points (*shape, dim) in standardised units."""
        return (x - self.shift) / self.scale

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self.prior_mean)

    def split(self, theta: Tensor) -> dict[str, Tensor]:
        """The parts of ``theta`` by name, each (*batch, modes, *shape)."""
        blocks = theta.unflatten(-1, (self.modes, -1))
        pieces = blocks.split([shape.numel() for _, shape in self.parts], dim=-1)
        return {
            name: piece.reshape(*piece.shape[:-1], *shape)
            for (name, shape), piece in zip(self.parts, pieces, strict=True)
        }

    def join(self, parts: dict[str, Tensor]) -> Tensor:
        """``theta`` (*batch, size) from its parts, the inverse of :meth:`split`."""
        lead = parts["mass"].shape
        return torch.cat([parts[name].reshape(*lead, -1) for name, _ in self.parts], -1).flatten(-2)

    def masses(self, theta: Tensor) -> Tensor:
        """The masses pi of the modes, (*batch, modes)."""
        return torch.softmax(self.split(theta)["mass"], dim=-1)

    def potential(self, theta: Tensor) -> LSEICNN:
        """Potentials in the data's units with exp(-E) normalised, batch shape (*batch,)."""
        parts = self.split(theta)
        weight, bias, inner = self._shape(parts)
        loc, factor, offset = self._frames(parts, weight, bias, inner)
        last = (bias[..., -1] + offset + LOG_GATE - math.log(self.modes)).unsqueeze(-1)
        values = {
            "alpha": torch.full_like(parts["mass"], OPEN),
            "network.loc": loc,
            "network.log_diagonal": factor.diagonal(dim1=-2, dim2=-1).log(),
            "network.off_diagonal": factor.tril(-1),
            "network.icnn.weight": weight,
            "network.icnn.bias": torch.cat([bias[..., :-1], last], dim=-1),
        }
        raw = {f"network.icnn.raw_inner.{i}": w for i, w in enumerate(self._raw(parts))}
        return self.template.with_parameters(values | raw)

    def log_density(self, theta: Tensor, x: Tensor) -> Tensor:
        """log q(x) = -E(x) at points (n, dim), as :meth:`potential` gives it but quicker.

        It builds no module: a Markov chain calls it a hundred thousand times, for one ``theta`` at
        a time.

        Returns:
            (*batch, n).
        """
        parts = self.split(theta)
        weight, bias, inner = self._shape(parts)
        loc, factor, offset = self._frames(parts, weight, bias, inner)
        if self.dim == 1:
            weight = torch.cat([weight * factor, factor], dim=-2)
            moved = (weight * loc.unsqueeze(-1)).squeeze(-1)
        else:
            weight = torch.cat([weight @ factor, factor], dim=-2)
            moved = (weight @ loc.unsqueeze(-1)).squeeze(-1)
        stack = ConvexStack(weight, pad(bias, (0, self.dim)) - moved, inner, self.dim)
        f = stack.forward(x.mT.expand(theta.shape[:-1].numel(), -1, -1))[0]
        f = f.reshape(*offset.shape, -1) + offset.unsqueeze(-1)
        return torch.logsumexp(-f, dim=-2)

    def _frames(
        self, parts: dict[str, Tensor], weight: Tensor, bias: Tensor, inner: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The frames u = L_k (x - loc_k) of the modes, and the offsets of f_k.

        Returns:
            loc, L, and the offsets with which exp(-f_k) integrates to pi_k; (*batch, modes, ...).
        """
        log_z, shift, root = self._moments(weight, bias, inner)
        log_mass = torch.log_softmax(parts["mass"], dim=-1)
        mean = self.shift + self.scale * parts["mean"]
        if self.dim == 1:
            factor = root * (parts["log_scale"].exp() / self.scale).unsqueeze(-1)
            loc = mean - shift / factor.squeeze(-1)
        else:
            factor = root @ self._precision_factor(parts)
            loc = mean - torch.linalg.solve_triangular(
                factor, shift.unsqueeze(-1), upper=False
            ).squeeze(-1)
        if self.box is not None:
            shape = ConvexStack(weight, bias, inner)
            log_z = self._log_z_inside(self.box, loc, factor, shape, log_z)
        return loc, factor, log_z - log_det(factor) - log_mass

    def _log_z_inside(
        self, box: Box, loc: Tensor, factor: Tensor, shape: ConvexStack, whole: Tensor
    ) -> Tensor:
        """log of the integral of exp(-|u|^2/2 - g_k) over the box, (*batch, modes).

        It is that over the ``whole`` line where no side comes near, to the bit.
        """
        place, width = loc.squeeze(-1), factor.flatten(-3)
        # no gradient through an open side, as infinity times zero is none
        low, high = (
            width * (side - place) if side.isfinite() else side.expand_as(place) for side in box
        )
        u, log_w = between(low, high)
        g = shape.unstack().forward(u.reshape(-1, 1, u.shape[-1]))[0].view_as(u)
        untouched = (low < -NODE_RADIUS) & (high > NODE_RADIUS)
        return torch.where(untouched, whole, torch.logsumexp(log_w - g, dim=-1))

    def slopes(self, parts: dict[str, Tensor]) -> Tensor:
        """|V| of every hidden unit, (*batch, modes, units).

        The slope saturates at ``STEEPEST``: between the nodes, a steeper unit could hide mass of a
        mode, and the likelihood of such a mode would come out too large.
        """
        most = STEEPEST[self.dim]
        return most * torch.sigmoid(parts["slope"] - math.log(most))

    def _precision_factor(self, parts: dict[str, Tensor]) -> Tensor:
        """P_k, in the units of the data: (*batch, modes, dim, dim)."""
        diagonal = parts["log_scale"].exp()
        factor = torch.diag_embed(diagonal)
        rows, columns = torch.tril_indices(self.dim, self.dim, -1)
        factor[..., rows, columns] = parts["tilt"] * diagonal[..., rows]
        return factor / self.scale

    def _raw(self, parts: dict[str, Tensor]) -> list[Tensor]:
        """The raw weights between the layers, the output's last."""
        return [parts[name] for name, _ in self.parts if name.startswith(("inner", "strength"))]

    def _shape(self, parts: dict[str, Tensor]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """g_k as the tensors of a :class:`ConvexStack`, with g_k(0) = 0 and grad g_k(0) = 0."""
        steep = self.slopes(parts).unsqueeze(-1)  # (*batch, modes, units, 1)
        lead, units = steep.shape[:-2], steep.shape[-2]
        row = torch.zeros(*lead, units, self.dim).to(steep)
        if units:
            row = self._directions(parts["turn"])
        weight = pad(steep * row, (0, 0, 0, 1))
        bias = pad(-steep.squeeze(-1) * parts["bend"], (0, 1))
        inner = tuple(softplus(raw) / raw.shape[-1] for raw in self._raw(parts))
        stack = ConvexStack(weight, bias, inner).unstack()
        value, kept = stack.forward(torch.zeros(1, self.dim, 1).to(weight))
        slope = stack.pullback(torch.ones_like(value), kept).reshape(*lead, 1, self.dim)
        weight = torch.cat([weight[..., :-1, :], -slope], dim=-2)
        bias = torch.cat([bias[..., :-1], -value.reshape(*lead, 1)], dim=-1)
        return weight, bias, inner

    def _directions(self, turn: Tensor) -> Tensor:
        """Rows of length 1: ``sign`` on a unit's own axis, and ``turn`` on the others, normalised.

        Args:
            turn: (..., units, dim - 1).
        """
        own = torch.nn.functional.one_hot(self.axis, self.dim).bool()
        row = torch.where(own, self.sign.unsqueeze(-1), 0.0).expand(*turn.shape[:-1], self.dim)
        if self.dim > 1:
            row = row.masked_scatter(~own.expand_as(row), turn)
            row = row / row.norm(dim=-1, keepdim=True)
        return row

    def _moments(
        self, weight: Tensor, bias: Tensor, inner: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log Z, mean and root of the covariance of exp(-|u|^2/2 - g_k), (*batch, modes, ...)."""
        lead = bias.shape[:-1]
        if not inner:
            log_z = bias.new_full(lead, 0.5 * self.dim * math.log(2 * math.pi))
            eye = torch.eye(self.dim).to(bias)
            return log_z, bias.new_zeros(*lead, self.dim), eye.expand(*lead, self.dim, self.dim)
        if len(inner) == 1:
            log_z, means = moments(Shallow.of_stack(weight, bias, inner[0]), self.nodes)
        else:
            stack = ConvexStack(weight, bias, inner).unstack()
            g = stack.forward(self.nodes.x.unsqueeze(0))[0].reshape(*lead, -1)
            log_z = torch.logsumexp(self.nodes.weights - g, dim=-1)
            means = (self.nodes.weights - g - log_z.unsqueeze(-1)).exp() @ self.nodes.phi.mT
        _, mean, products = means.split([1, self.dim, means.shape[-1] - self.dim - 1], dim=-1)
        if self.dim == 1:
            variance = products - mean.square() + NODE_VARIANCE
            return log_z, mean, variance.sqrt().unsqueeze(-1)
        i, j = torch.triu_indices(self.dim, self.dim)
        covariance = products.new_zeros(*lead, self.dim, self.dim)
        covariance[..., i, j] = covariance[..., j, i] = products - mean[..., i] * mean[..., j]
        covariance = covariance + NODE_VARIANCE * torch.eye(self.dim).to(mean)
        return log_z, mean, torch.linalg.cholesky(covariance)
