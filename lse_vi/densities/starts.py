"""The start of a fit of strongly convex modes: one on each component of a Gaussian mixture."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lse_vi.densities.background import Background
from lse_vi.distribution.box import Box
from lse_vi.distribution.modes import SingleModes
from lse_vi.fitting.starts import columns_of
from lse_vi.network.icnn import WhitenedICNN, whitened
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.clusters import EM_GAIN, LEAST_VARIANCE, gaussian_mixture
from lse_vi.numerics.linear_algebra import log_det
from lse_vi.random.draws import generator, randn_like

# Standard deviation of the slopes of the softplus units at the start, in the frame of the mode:
# with gentler ones Adam finds fewer walls.
START_SLOPE = 3.0
# Mixtures that differ by less, in nats per point, are one as far as EM has gone, and the first is
# taken: else rounding would choose between the same components in another order.
TIE = 10 * EM_GAIN
# Widths of its frame by which an exponential start is away from the minimum of the mode: over its
# own mean, the density bends by a hundredth of its slope.
TAIL = 10.0
MOMENT_DRAWS = 4096  # for the moments of a mode; its units are small, and so is the error


@torch.no_grad()
def start_on_mixture(
    pot: LSEICNN,
    x: Tensor,
    seed: int,
    restarts: int,
    background: Background | None = None,
    weights: Tensor | None = None,
) -> None:
    """Set the modes to the components of the best of several Gaussian mixtures.

    Args:
        pot: with strongly convex modes, of batch shape (1, *batch); its parameters are replaced.
        x: standardised data (n, *batch, dim).
        seed: for the clusters on which EM starts.
        restarts: number of mixtures fitted by EM.
        background: a part beside the modes, which they leave to it.
        weights: of the points, (n, *batch) or (n, *1s); None for points without.
    """
    lead, dim = pot.alpha.shape, pot.dim
    rng = np.random.default_rng(seed)
    points = x.reshape(len(x), -1, dim).cpu().double().numpy()  # (n, batch, dim)
    beside: list[np.ndarray | None] = [None] * points.shape[1]
    if background is not None:  # the mixture leaves out log(2 pi) dim / 2
        constant = 0.5 * dim * math.log(2 * math.pi)
        law = background.log_density(x) + constant
        beside = list(law.reshape(len(x), -1).T.cpu().double().numpy())
    worth = columns_of(weights, x)
    best = []
    for b, other in enumerate(beside):
        runs = [
            gaussian_mixture(points[:, b], pot.modes, rng, other, worth[b]) for _ in range(restarts)
        ]
        level = max(run[0] for run in runs) - TIE
        best.append(next(run[1:] for run in runs if run[0] >= level))
    weights, means, factors = (
        torch.as_tensor(np.stack(parts)).to(pot.alpha) for parts in zip(*best, strict=True)
    )
    network = whitened(pot.network)
    loc, factor = means.reshape(*lead, dim), factors.reshape(*lead, dim, dim)
    network.reset_parameters(loc, factor)
    prepare_walls(network)
    heights = weights.log().reshape(lead) + log_det(factor) - _match_moments(network)
    network.add_offset_(heights.mean(-1, keepdim=True) - heights)


@torch.no_grad()
def _match_moments(network: WhitenedICNN) -> Tensor:
    """Give each mode the mean and the covariance that its frame alone would have.

    Its units bend it a little. In five dimensions that costs 0.01 nats per point, in ten 0.02,
    which is more than the parameters of a Gaussian mixture cost a fit to some thousand points.

    Returns:
        log of the factor by which the integral of exp(-f_k) changes, (*batch, modes).
    """
    loc, factor = network.loc.clone(), network.precision_factor()
    dim = loc.shape[-1]
    u = torch.quasirandom.SobolEngine(dim, scramble=True, seed=0).draw(MOMENT_DRAWS)
    z = torch.special.ndtri(u.double().clamp(2.0**-31, 1 - 2.0**-31)).to(loc)  # 0 has no quantile
    z = z.reshape(-1, *(1,) * (loc.dim() - 1), dim)
    g = SingleModes(network.frame_stack()).value(z.expand(-1, *loc.shape)) - z.square().sum(-1) / 2
    # Less the moments of the draws themselves, which are known to be those of a normal law.
    excess = torch.softmax(-g, 0) - 1 / len(z)
    mean = (excess.unsqueeze(-1) * z).sum(0)
    second = torch.einsum("n...,nj,nk->...jk", excess, *[z.reshape(-1, dim)] * 2)
    covariance = torch.eye(dim).to(loc) + second - mean.unsqueeze(-1) * mean.unsqueeze(-2)
    own = torch.linalg.cholesky(covariance) @ factor  # u = own (x - loc) + mean
    step = torch.linalg.solve_triangular(own, mean.unsqueeze(-1), upper=False).squeeze(-1)
    network.loc.copy_(loc - step)
    network.log_diagonal.copy_(own.diagonal(dim1=-2, dim2=-1).log())
    network.off_diagonal.copy_(own.tril(-1))
    return log_det(factor) - log_det(own) + torch.logsumexp(-g, 0) - math.log(len(z))


@torch.no_grad()
def start_on_walls(pot: LSEICNN, x: Tensor, box: Box, weights: Tensor | None = None) -> None:
    """Set a single mode to fall off from the walls of half-open axes, as an exponential law does.

    It has the mean of the data there, and their mean and deviation along the other axes. From a
    Gaussian an exponential is far: its modes bend less and less, and each step gains less.

    Args:
        pot: with one strongly convex mode, of batch shape (1, *batch); its parameters are replaced.
        x: standardised data (n, *batch, dim).
        box: the support.
        weights: of the points, (n, *batch) or (n, *1s); None for points without.
    """
    w = torch.ones_like(x[..., :1]) if weights is None else weights.to(x).unsqueeze(-1)
    mean = (w * x).sum(0) / w.sum(0)
    deviation = ((w * (x - mean).square()).sum(0) / w.sum(0)).sqrt()
    low, high = box.low.isfinite() & ~box.high.isfinite(), box.high.isfinite() & ~box.low.isfinite()
    wall = torch.where(low, box.low.to(x), torch.where(high, box.high.to(x), mean))
    away = (mean - wall).abs()
    width = torch.where(low | high, TAIL * away, deviation).clamp_min(math.sqrt(LEAST_VARIANCE))
    network, lead = whitened(pot.network), pot.alpha.shape
    factor = torch.diag_embed(1 / width).expand(*lead[:-1], pot.dim, pot.dim)
    network.reset_parameters(wall.expand(*lead[:-1], pot.dim).unsqueeze(-2), factor.unsqueeze(-3))
    prepare_walls(network)
    network.icnn.weight[..., -1, :] = TAIL * (low.to(x) - high.to(x))


@torch.no_grad()
def prepare_walls(network: WhitenedICNN) -> None:
    """Make the softplus units steep, and let them bend at random places all over the mode.

    For modes that start as Gaussians: such units find the directions of the mode's edges sooner
    than gentle units that bend at its centre.
    """
    weight = network.icnn.weight[..., :-1, :]
    weight.normal_(0.0, START_SLOPE, generator=generator(weight.device))
    network.icnn.bias[..., :-1] = -(weight * randn_like(weight)).sum(-1)
