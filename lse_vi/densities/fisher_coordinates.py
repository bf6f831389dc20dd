"""Coordinates in which the information about the parameters of each mode is the identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Size, Tensor
from torch.func import grad, vmap

from lse_vi.densities.weight_prior import prior_weights
from lse_vi.distribution.rule import AnyRule
from lse_vi.network.images import held
from lse_vi.network.potential import LSEICNN
from lse_vi.network.substitution import put
from lse_vi.random.draws import generator

# Points behind the information: all nodes of a rule with fewer, else draws of q among the nodes.
# Draws jump where rounding changes a weight, and L-BFGS makes large what was small: so it is better
# to take all nodes, which for a fit in a plane are so many.
INFORMATION_POINTS = 4096
PART = 1024  # points at once, which bounds the memory
# Parameters of a mode in one block of the information, whose factor takes 32 MB in double
# precision. A mode with more parameters has several blocks, treated as independent.
WIDEST = 2000


class FisherCoordinates:
    r"""Coordinates phi of the trained parameters, in which the loss curves alike in all directions.

    .. math::
        \theta_k = \theta_k^0 + C_k^{-T} \phi_k, \qquad
        C_k C_k^T = n \operatorname{Cov}_q(\partial E / \partial \theta_k) + P_k

    for every mode, with P_k the weights of its prior (:func:`prior_weights`). Once q is close to
    the law of the n points, minus the log posterior has about the curvature C_k C_k^T (Amari 1998),
    so in phi it has about the curvature of the identity. L-BFGS needs this where a mode ends in a
    steep wall: shifting the wall changes the loss faster than making it steeper, by the square of
    its slope.

    Args:
        pot: the potential at phi = 0.
        rule: weighted points for exp(-E).
        n: number of points of the fit; (*batch), or what broadcasts to it.
        half_open: whether a side of the support is open, as for the prior.

    Attributes:
        phi: tensors that require gradients, (*batch, modes, size) and, if rho is trained,
            (*batch, 1).

    Example:
        >>> from lse_vi import LSEDensity, WhitenedICNN
        >>> pot = LSEICNN(1, 2, hidden=(3,), rho=1.0, network=WhitenedICNN)
        >>> there = FisherCoordinates(pot, LSEDensity(pot).rule, n=100)
        >>> [phi.shape for phi in there.phi], there.potential().modes
        ([torch.Size([2, 15]), torch.Size([1])], 2)
    """

    def __init__(
        self, pot: LSEICNN, rule: AnyRule, n: Tensor | float, *, half_open: bool = False
    ) -> None:
        self.pot = pot
        own = {name: p.detach() for name, p in pot.named_parameters() if p.requires_grad}
        weights = prior_weights(pot, half_open=half_open)
        depth = len(pot.batch_shape)
        shapes = {name: p.shape for name, p in own.items()}
        shared = {name: shapes.pop(name) for name in ("log_rho",) if name in shapes}
        n = torch.as_tensor(n).to(pot.alpha).expand(pot.batch_shape)
        self.groups = [_Group(shapes, depth + 1)]
        if shared:
            self.groups.append(_Group(shared, depth))
        self.start = [group.join(own) for group in self.groups]
        products = [
            [part.new_zeros(*part.shape, part.shape[-1]) for part in start.split(WIDEST, -1)]
            for start in self.start
        ]
        for scores in _scores(pot, own, rule):
            for group, totals in zip(self.groups, products, strict=True):
                for total, part in zip(totals, group.join(scores).split(WIDEST, -1), strict=True):
                    rows = part.movedim(0, -2)
                    total += rows.mT @ rows
        self.factors = [
            [
                _factor(*parts, n)
                for parts in zip(totals, group.join(weights).split(WIDEST, -1), strict=True)
            ]
            for group, totals in zip(self.groups, products, strict=True)
        ]
        self.phi = [torch.zeros_like(start).requires_grad_() for start in self.start]

    def potential(self) -> LSEICNN:
        """The potential at phi, differentiable in phi."""
        tensors: dict[str, Tensor] = {}
        for group, start, factors, phi in zip(
            self.groups, self.start, self.factors, self.phi, strict=True
        ):
            steps = [
                torch.linalg.solve_triangular(factor.mT, part.unsqueeze(-1), upper=True).squeeze(-1)
                for factor, part in zip(factors, phi.split(WIDEST, -1), strict=True)
            ]
            tensors |= group.part(start + torch.cat(steps, dim=-1))
        pot = put(self.pot, tensors)
        narrower = held(pot)  # a line search may try a mode of a hundred periods
        return pot.with_parameters(narrower) if narrower else pot


@dataclass(frozen=True)
class _Group:
    """Parameters by name that share their first ``depth`` axes, joined along one last axis."""

    shapes: Mapping[str, Size]
    depth: int

    def join(self, values: Mapping[str, Tensor]) -> Tensor:
        """Join parameters, each (*extra, *first, ...), into (*extra, *first, size)."""
        own = {name: len(shape) - self.depth for name, shape in self.shapes.items()}
        parts = [values[name].unsqueeze(-1).flatten(-1 - axes) for name, axes in own.items()]
        return torch.cat(parts, dim=-1)

    def part(self, joined: Tensor) -> dict[str, Tensor]:
        """Undo :meth:`join` for (*first, size): the parameters by name."""
        sizes = [shape[self.depth :].numel() for shape in self.shapes.values()]
        parts = joined.split(sizes, dim=-1)
        return {
            name: part.reshape(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


def _scores(pot: LSEICNN, own: Mapping[str, Tensor], rule: AnyRule) -> Iterator[dict[str, Tensor]]:
    """dE/dtheta less its mean, times the root of the weight of each point: (points, *batch, ...).

    Their products, summed over the points of all parts, are the covariances under q.
    """
    weights = rule.probabilities(pot)
    points = rule.points.expand(*weights.shape, pot.dim)
    if len(weights) > INFORMATION_POINTS:
        flat = weights.reshape(len(weights), -1).mT
        picks = torch.multinomial(flat, INFORMATION_POINTS, True, generator=generator(flat.device))
        picks = picks.mT.reshape(INFORMATION_POINTS, *pot.batch_shape)
        points = torch.take_along_dim(points, picks.unsqueeze(-1), dim=0)
        weights = torch.full_like(picks, 1 / INFORMATION_POINTS, dtype=weights.dtype)

    def energy(tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return pot.with_parameters(tensors)(x).sum()

    def mean_energy(tensors: Mapping[str, Tensor]) -> Tensor:
        return (weights * pot.with_parameters(tensors)(points)).sum()

    mean = grad(mean_energy)(own)
    for x, share in zip(points.split(PART), weights.split(PART), strict=True):
        scores: dict[str, Tensor] = vmap(grad(energy), (None, 0))(own, x)
        roots = {
            name: share.sqrt().reshape(*share.shape, *(1,) * (score.dim() - share.dim()))
            for name, score in scores.items()
        }
        yield {name: roots[name] * (score - mean[name]) for name, score in scores.items()}


def _factor(covariance: Tensor, precision: Tensor, n: Tensor) -> Tensor:
    """The Cholesky factor C of n covariance + diag(precision), (..., size, size).

    Args:
        covariance: of the scores, (..., size, size).
        precision: weights of the prior, (..., size).
        n: number of points of the fit, (*batch).
    """
    many = n.reshape(*n.shape, *(1,) * (covariance.dim() - n.dim()))
    return torch.linalg.cholesky(many * covariance + torch.diag_embed(precision))
