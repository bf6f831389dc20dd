r"""The Bayesian density of the Schlögl study: on a box, with rho learned, all times in one batch.

The densities of :mod:`lse_vi.bayesian` cannot stand in for it: they live on R^d with rho = 1, one
data set at a time, while this study takes the paper's density, whose rho is a parameter, on a box
that holds the counts, and fits the laws of eleven times at once. For a posterior of data of your
own take :func:`lse_vi.fit_posterior`; take this to read the paper's Eq. 21.

The parameters of a network trade off against one another: a mode's location against its biases, its
frame against its slopes, its gate against its offset, and all of them against rho. The posterior in
these is a curved ridge, and a Gaussian on a curved ridge is wide in everything that the data know:
bands of the CDF came out twice too wide. So three numbers of each mode, those that the data say
most about, are made coordinates of their own, whatever the rest of the network does: its mean and
standard deviation (of exp(-f_k)), and its mass pi_k = E_q[r_k]. With rho = 1 on R^d the mass has a
formula; here Newton's method finds the offsets of the f_k that give it.
"""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from lse_vi import LSEICNN, LSEDensity, Quadrature, WhitenedICNN
from lse_vi.bayesian.normal_guides import laplace_root
from lse_vi.densities import prior_moments
from lse_vi.distribution import Box, Rule
from lse_vi.network.icnn import whitened

MATCHING_STEPS = 6  # of damped Newton for the masses
DAMPING = 0.2  # Levenberg's: without it a few steps overshoot, and the ELBO's gradients with them


class FixedRule:
    """A rule with always the same nodes: on a box they need not follow the potential."""

    def __init__(self, box: Box, panels: int) -> None:
        flat = LSEICNN(1, 1, hidden=(), network=WhitenedICNN, dtype=box.low.dtype)
        start = Quadrature(panels=panels // 2, tolerance=1e3).rule(flat, box)
        self._rule = Rule(start.points, start.log_weights, torch.zeros(()).to(box.low))

    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """The nodes, shaped to broadcast over the batch of ``pot``."""
        ones = (1,) * len(pot.batch_shape)
        points, log_weights, error = vars(self._rule).values()
        return Rule(points.reshape(-1, *ones, 1), log_weights.reshape(-1, *ones), error)


class BayesianBoxDensity:
    """Priors over the coordinates ``theta`` of a density on a box, for standardised 1-D data.

    Args:
        x: standardised data (n, *batch, 1), each column of the batch a data set of its own.
        modes: number of modes K.
        bounds: (low, high) of the support, in the units of ``x``.
        hidden: widths of the hidden layers. Keep them small: every unit that the data do not need
            widens the bands.
    """

    def __init__(
        self, x: Tensor, *, modes: int, bounds: tuple[float, float], hidden: tuple[int, ...] = (2,)
    ) -> None:
        self.x, self.bounds = x, bounds
        self.template = LSEICNN(1, modes, hidden=hidden, network=WhitenedICNN, dtype=x.dtype)
        self.shapes = {name: p.shape for name, p in self.template.named_parameters()}
        moments = prior_moments(self.template) | {
            "alpha": (torch.zeros(modes).to(x), torch.full((modes,), 3.0).to(x))  # logits of pi_k
        }
        self.prior_mean = torch.cat([moments[name][0].flatten() for name in self.shapes])
        self.prior_sd = torch.cat([moments[name][1].flatten() for name in self.shapes])
        box = Box.of(bounds, 1, x)
        self.method = FixedRule(box, panels=32)
        self.frame = FixedRule(Box.of((-9.0, 9.0), 1, x), panels=12)

    def potential(self, theta: Tensor) -> LSEICNN:
        """The potentials with coordinates ``theta`` (*batch, size): batch shape (*batch,)."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        parts = theta.split(sizes, dim=-1)
        values = {
            name: part.reshape(*theta.shape[:-1], *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
        log_mass = torch.log_softmax(values["alpha"], dim=-1)
        values["alpha"] = torch.full_like(log_mass, 3.0)  # open gates: the masses do their work
        pot = self.template.with_parameters(values)
        pot = self._standardise(pot)
        return _shift_modes(pot, self._matching_offsets(pot, log_mass))

    def density(self, theta: Tensor) -> LSEDensity:
        """The densities with coordinates ``theta``, in the units of the data."""
        return LSEDensity(self.potential(theta), self.bounds, method=self.method)

    def model(self) -> None:
        """theta ~ prior, independently for each data set; x ~ q(.; theta)."""
        n, *batch, _ = self.x.shape
        with pyro.plate("set", math.prod(batch), dim=-1):
            theta = pyro.sample("theta", dist.Normal(self.prior_mean, self.prior_sd).to_event(1))
            q = self.density(theta)
            with pyro.plate("point", n, dim=-2):
                pyro.sample("x", q, obs=self.x.reshape(n, -1, 1))

    def log_joint(self, theta: Tensor) -> Tensor:
        """log p(theta, x) up to a constant, for each data set: (batch, size) -> (batch,)."""
        z = (theta - self.prior_mean) / self.prior_sd
        log_q = self.density(theta).log_prob(self.x.flatten(1, -2).unsqueeze(-1))
        return log_q.sum(0) - 0.5 * z.square().sum(-1)

    def laplace_root(self, theta: Tensor) -> Tensor:
        """Cholesky factor of Laplace's covariance at ``theta`` (batch, size), per data set."""
        return laplace_root(self.log_joint, theta, self.prior_sd)

    def start(self, responsibilities: Tensor) -> Tensor:
        """Coordinates (batch, size) at the masses, means and widths that a fit gives its modes.

        Args:
            responsibilities: of the fit's modes for the data, (n, *batch, modes).
        """
        r = responsibilities.flatten(1, -2)  # (n, batch, modes)
        x = self.x.reshape(len(r), -1, 1)
        count = r.sum(0) + 1.0  # a mode without data keeps the data's own mean and width
        mean = ((r * x).sum(0) + x.mean(0)) / count
        variance = ((r * (x - mean).square()).sum(0) + x.var(0)) / count
        values = {
            name: p.detach().expand(r.shape[1], *p.shape)
            for name, p in self.template.named_parameters()
        }
        values["alpha"] = (count / count.sum(-1, keepdim=True)).log()
        values["network.loc"] = mean.unsqueeze(-1)
        values["network.log_diagonal"] = -0.5 * variance.log().unsqueeze(-1)
        values["log_rho"] = values["log_rho"].new_full((r.shape[1],), -2.0)
        return torch.cat([values[name].reshape(r.shape[1], -1) for name in self.shapes], dim=-1)

    def _standardise(self, pot: LSEICNN) -> LSEICNN:
        """Read loc and -log_diagonal as mean and log standard deviation of exp(-f_k), Z_k = 1."""
        net = whitened(pot.network)
        rule = self.frame.rule(pot, None)
        u = rule.points  # (nodes, 1..., 1)
        log_p = rule.log_weights.unsqueeze(-1) - net.icnn(u) - 0.5 * u.square()
        log_z = torch.logsumexp(log_p, dim=0)
        p = (log_p - log_z).exp()
        mean = (p * u).sum(0)
        sd = (p * (u - mean).square()).sum(0).sqrt()
        scale = (-net.log_diagonal.squeeze(-1)).exp()
        loc = net.loc.squeeze(-1) - scale * mean / sd
        log_diagonal = (sd / scale).log()
        pot = pot.with_parameters(
            {"network.loc": loc.unsqueeze(-1), "network.log_diagonal": log_diagonal.unsqueeze(-1)}
        )
        return _shift_modes(pot, log_z - log_diagonal)

    def _matching_offsets(self, pot: LSEICNN, log_mass: Tensor) -> Tensor:
        """Offsets of f_k, (*batch, modes), for which E_q[r_k] is the mass asked for.

        Damped Newton on log E_q[r_k]. With m_k = E_q[r_k] and R = E_q[r r^T], the derivative of
        -m in the offsets is A = rho (diag(m) - R) + R - m m^T: the first term is how the
        responsibilities move, the second how q does. A is singular in the common offset only.
        """
        rule = self.method.rule(pot, None)
        f = pot.mode_potentials(rule.points)  # (nodes, *batch, modes)
        rho = pot.rho.unsqueeze(-1)
        ones = torch.ones(pot.modes, pot.modes).to(f) / pot.modes
        offset = -log_mass
        for _ in range(MATCHING_STEPS):
            logits = -rho * (f + offset)
            energy = -torch.logsumexp(logits, dim=-1) / rho.squeeze(-1)
            p = torch.softmax(rule.log_weights - energy, dim=0)
            r = torch.softmax(logits, dim=-1)
            m = torch.einsum("n...,n...k->...k", p, r)
            second = torch.einsum("n...,n...k,n...l->...kl", p, r, r)
            slope = rho.unsqueeze(-1) * (torch.diag_embed(m) - second)
            slope = slope + second - m.unsqueeze(-1) * m.unsqueeze(-2) + ones
            slope = slope + DAMPING * torch.diag_embed(m)
            gap = m * (m.clamp_min(1e-12).log() - log_mass)
            gap = gap - gap.mean(-1, keepdim=True)
            offset = offset + torch.linalg.solve(slope, gap)
        return offset


def _shift_modes(pot: LSEICNN, offset: Tensor) -> LSEICNN:
    """Add ``offset`` (*batch, modes) to the f_k."""
    bias = whitened(pot.network).icnn.bias
    shifted = torch.cat([bias[..., :-1], (bias[..., -1] + offset).unsqueeze(-1)], dim=-1)
    return pot.with_parameters({"network.icnn.bias": shifted})
