"""A Bayesian density for data in one to three dimensions, as a Pyro model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Size, Tensor

from lse_vi.checks import (
    check_count,
    check_counts,
    check_enough,
    check_points,
    check_size,
    check_spread,
    shown,
)
from lse_vi.coordinates.coordinates import ModeCoordinates
from lse_vi.coordinates.likelihood import log_likelihood
from lse_vi.coordinates.normalised import MassPerMode
from lse_vi.coordinates.prior import Prior
from lse_vi.densities.data_source import Points
from lse_vi.distribution.box import Box
from lse_vi.distribution.density import LSEDensity
from lse_vi.network.potential import LSEICNN
from lse_vi.network.shallow import place
from lse_vi.numerics.arrays import as_data, as_floats
from lse_vi.numerics.clusters import clusters, gather, pairs
from lse_vi.random.draws import randn
from lse_vi.signatures.checked import checked

# On a line, the widest cell whose points are replaced by two, in standard deviations of the data:
# ten cells lie in a mode that is rather narrow a priori. The log-likelihoods of draws of posteriors
# then move by 0.001 to 0.01 nats against one another (190 to 1,000 points), and by 16 times as much
# with cells twice as wide. They are replaced if that saves a quarter of the distinct points.
PAIR_WIDTH, WORTH_IT = 0.1, 0.75
# In more dimensions, the cells whose points are replaced by their mean, and the points per cell
# from which on they are: a mode still extends over tens of cells.
CELLS, MANY = {2: 2048, 3: 4096}, 4
# At the start of a search a mode gets the covariance of its cluster, plus a variance that keeps it
# from becoming a spike. Both widths are in standard deviations of the data.
CLUSTER_FLOOR = 0.05  # added width for a cluster with enough points for a covariance
SMALL_CLUSTER_WIDTH = 0.2  # the whole width for a cluster with fewer points


class BayesianDensity(PyroModule):
    r"""A density with priors on all its parameters, as a Pyro model: x_i ~ q(.; theta).

    :func:`~lse_vi.fit_posterior` makes and fits one. Use it directly for inference of your own, by
    SVI, NUTS or through :meth:`log_joint`.

    ``theta`` are the coordinates of :class:`~lse_vi.bayesian.ModeCoordinates`: mass, mean, scale
    and shape of each mode. The latent site is ``z`` in theta = center + root z, by default with the
    mean and standard deviations of the prior as center and root, where z ~ N(0, 1).
    :meth:`in_frame` gives the same model with another center and root. A frame in which the
    posterior of z is nearly N(0, 1) suits any guide, and NUTS without a mass matrix.

    Args:
        x: data (n, dim) or (n,), dim from 1 to 3; copied to the CPU in float64, as tensors of
            this size are quickest there.
        weights: of the points, (n,), as for :func:`~lse_vi.fit_density`. The likelihood of a point
            is taken to the power of its weight, scaled so that all sum to what they are worth.
        modes: number of modes K.
        hidden: widths of the hidden layers of each mode's shape g_k; () makes Gaussian modes. By
            default one layer with two units per dimension, one for each side.
        prior: priors for standardised data.
        units: (shift, scale) that standardise the data, each a number or ``dim`` numbers; by
            default the mean and standard deviation of the data.
        bounds: (low, high) of the support in one dimension, as for :func:`~lse_vi.fit_posterior`.

    Raises:
        ValueError: if the data are empty, not finite, constant, of more than three dimensions,
            fewer than ``2 (dim + 1)``, or outside ``bounds``.

    Example:
        >>> model = BayesianDensity(torch.randn(50), modes=2)
        >>> model.log_joint(model.prior_sample(7)).shape
        torch.Size([7])
    """

    @checked
    def __init__(
        self,
        x: Any,
        *,
        modes: int,
        weights: Any = None,
        bounds: Any = None,
        hidden: Sequence[int] | None = None,
        prior: Prior | None = None,
        units: tuple[Any, Any] | None = None,
    ) -> None:
        super().__init__()
        data, worth = check_density_data(x, weights)
        dim = data.shape[-1]
        hidden = (2 * dim,) if hidden is None else check_counts("hidden", hidden)
        self.register_buffer("x", data)
        self.register_buffer("weights", worth)
        shift, scale = _moments(data, worth) if units is None else _units(units, data)
        self.coordinates = ModeCoordinates(
            shift,
            scale,
            modes=check_count("modes", modes),
            hidden=hidden,
            prior=prior,
            bounds=bounds,
        )
        if self.box is not None:
            self.box.check_holds([data])
        check_size("modes and hidden", self.coordinates.size**2)  # covariances of theta
        self.register_buffer("unit_x", self.coordinates.place(data))
        self.register_buffer("center", self.coordinates.prior_mean)
        self.register_buffer("root", self.coordinates.prior_sd.diag())

    @property
    def modes(self) -> int:
        """Number of modes K."""
        return self.coordinates.modes

    @property
    def dim(self) -> int:
        """Dimension of x."""
        return self.coordinates.dim

    @property
    def points(self) -> float:
        """How many points of weight one the data are worth."""
        return float(self.weights.sum())

    @property
    def box(self) -> Box | None:
        """The support; None for R^d."""
        return self.coordinates.box

    @property
    def size(self) -> int:
        """Number of coordinates theta."""
        return self.coordinates.size

    def forward(self) -> Tensor:
        """The Pyro model: z from the prior, and data x_i ~ q(.; center + root z), independent."""
        at = self.coordinates
        spread = torch.linalg.solve_triangular(self.root, at.prior_sd.diag(), upper=False)
        loc = torch.linalg.solve_triangular(
            self.root, (at.prior_mean - self.center).unsqueeze(-1), upper=False
        ).squeeze(-1)
        z = pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=spread))
        q = self.likelihood(self.theta(z))
        with (
            pyro.plate("point", len(self.x), dim=-1),
            pyro.poutine.scale(scale=self.weights),
        ):
            return pyro.sample("x", q, obs=self.x)

    @checked
    def in_frame(self, center: Tensor, root: Tensor) -> BayesianDensity:
        """The same model with theta = center + root z.

        Args:
            center: (size,).
            root: lower triangular, (size, size).
        """
        return self._with(center=center, root=root)

    def gathered(self) -> BayesianDensity:
        """The same model of fewer points, see ``pairs`` and ``gather`` in ``numerics.clusters``.

        Itself, where that saves little. Its likelihood is cheap, and nearly that of all points.
        """
        points, weights = self.unit_x.numpy(), self.weights.numpy()
        if self.dim == 1:
            nodes, worth = pairs(points[:, 0], weights, PAIR_WIDTH)
            if len(nodes) > WORTH_IT * len(np.unique(points)):
                return self
            means = nodes[:, None]
        else:
            cells = CELLS[self.dim]
            if len(self.x) <= MANY * cells:
                return self
            means, worth = gather(points, weights, cells)
        unit, at = torch.as_tensor(means), self.coordinates
        x = at.shift + at.scale * unit
        return self._with(x=x, unit_x=unit, weights=torch.as_tensor(worth))

    def _with(self, **buffers: Tensor) -> BayesianDensity:
        """The same model with some buffers replaced."""
        other = self.__class__.__new__(self.__class__)
        PyroModule.__init__(other)
        for name in ("x", "weights", "unit_x", "center", "root"):
            other.register_buffer(name, buffers.get(name, getattr(self, name)))
        other.coordinates = self.coordinates
        return other

    @checked
    def theta(self, z: Tensor) -> Tensor:
        """Coordinates (*batch, size) at ``z`` (*batch, size)."""
        check_points("z", z, self.size, self.x.dtype)
        return self.center + z @ self.root.mT

    @checked
    def potential(self, theta: Tensor) -> LSEICNN:
        """Potentials with exp(-E) normalised, in the units of the data, batch shape (*batch,)."""
        check_points("theta", theta, self.size, self.x.dtype)
        return self.coordinates.potential(theta)

    @checked
    def density(self, theta: Tensor) -> LSEDensity:
        """The densities with coordinates ``theta`` (*batch, size)."""
        return LSEDensity(self.potential(theta).requires_grad_(False), self.box)

    @checked
    def sample(self, theta: Tensor, n: int) -> Tensor:
        """``n`` exact draws of each density, (n, *batch, dim)."""
        at, unit = self.coordinates, self.coordinates.standardised
        check_points("theta", theta, self.size, self.x.dtype)
        q = LSEDensity(unit.potential(theta).requires_grad_(False), unit.box)
        return at.shift + at.scale * q.sample(Size((check_count("n", n, 0),)))

    @checked
    def likelihood(self, theta: Tensor) -> LSEDensity:
        """The densities as the model uses them: log Z = 0 is known and not computed."""
        pot = self.potential(theta)
        return LSEDensity(pot, self.box, method=MassPerMode(), validate_args=False)

    @checked
    def log_likelihood(self, theta: Tensor) -> Tensor:
        """log q(x_i; theta) for theta (*batch, size): (n, *batch)."""
        check_points("theta", theta, self.size, self.x.dtype)
        return self._unit_log_likelihood(theta) - self.coordinates.log_volume

    @checked
    def log_prior(self, theta: Tensor) -> Tensor:
        """log p(theta), (*batch,)."""
        check_points("theta", theta, self.size, self.x.dtype)
        sd = self.coordinates.prior_sd
        e = (theta - self.coordinates.prior_mean) / sd
        return (-0.5 * e.square() - sd.log() - 0.5 * math.log(2 * math.pi)).sum(-1)

    @checked
    def log_joint(self, theta: Tensor) -> Tensor:
        """log p(theta) + sum_i w_i log q(x_i; theta), (*batch,)."""
        return self.unit_log_joint(theta) - self.points * self.coordinates.log_volume

    @checked
    def unit_log_joint(self, theta: Tensor) -> Tensor:
        """The log joint of the standardised data: what inference uses, so that no unit is felt."""
        points = place(self.unit_x, self.weights)
        return self.log_prior(theta) + log_likelihood(self.coordinates.standardised, theta, points)

    def _unit_log_likelihood(self, theta: Tensor) -> Tensor:
        """log of the density of the standardised data, (n, *batch)."""
        return self.coordinates.standardised.log_density(theta, self.unit_x).movedim(-1, 0)

    @checked
    def prior_sample(self, count: int) -> Tensor:
        """Draws of theta from the prior, (count, size)."""
        at = self.coordinates
        check_count("count", count)
        return at.prior_mean + at.prior_sd * randn(count, at.size).to(at.prior_sd)

    @checked
    def starts(self, count: int, seed: int = 0) -> Tensor:
        """Coordinates (count, size) with the modes on clusters of the data (k-means++)."""
        check_count("count", count)
        at, rng = self.coordinates, np.random.default_rng(seed)
        points, worth = self.unit_x.numpy(), self.weights.numpy()
        given = None if (worth == 1).all() else worth
        parts = at.split(at.prior_mean.repeat(count, 1))
        rows, columns = np.tril_indices(self.dim, -1)
        for r in range(count):
            centers, label = clusters(points, self.modes, rng, given)
            for k in range(self.modes):
                own, mass = points[label == k], worth[label == k]
                enough = len(own) > self.dim + 1
                floor = CLUSTER_FLOOR if enough else SMALL_CLUSTER_WIDTH
                covariance = floor**2 * np.eye(self.dim)
                if enough:
                    covariance += np.cov(own.T, ddof=0, aweights=mass).reshape(self.dim, self.dim)
                factor = np.linalg.inv(np.linalg.cholesky(covariance))
                diagonal = factor.diagonal().copy()
                # one point more keeps a mode on a tiny cluster from starting with hardly any mass
                parts["mass"][r, k] = math.log((mass.sum() + 1) / worth.sum())
                parts["mean"][r, k] = torch.as_tensor(centers[k])
                parts["log_scale"][r, k] = torch.as_tensor(diagonal).log()
                parts["tilt"][r, k] = torch.as_tensor((factor / diagonal[:, None])[rows, columns])
        return at.join(parts)


def _units(units: tuple[Any, Any], data: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and scale of the user, (dim,) each."""
    dim = data.shape[-1]
    if not isinstance(units, (tuple, list)) or len(units) != 2:
        raise TypeError(f"units must be (shift, scale), but got {shown(units)}")
    shift, scale = (as_floats("units", part).to(data) for part in units)
    if shift.shape not in ((), (dim,)) or scale.shape not in ((), (dim,)) or not (scale > 0).all():
        raise ValueError(
            f"units must be (shift, scale), each a number or {dim} numbers, with scale > 0, "
            f"but got {units}"
        )
    return shift.expand(dim).clone(), scale.expand(dim).clone()


def _moments(data: Tensor, worth: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of data (n, dim) under weights (n,)."""
    mean = worth @ data / worth.sum()
    return mean, (worth @ (data - mean).square() / (worth.sum() - 1)).sqrt()


def check_density_data(x: Any, weights: Any = None) -> tuple[Tensor, Tensor]:
    """Data as (n, dim) in float64 on the CPU, and their weights (n,), one by default.

    dim must be 1 to 3, and every column must vary.
    """
    if weights is None:
        data = as_data("x", x).to("cpu", torch.float64)
        worth = torch.ones_like(data[:, 0])
    else:
        points = Points.of("x", x, weights)
        data = as_data("x", points.rows(slice(None))).to("cpu", torch.float64)
        worth = points.worth.values.to("cpu", copy=True)
    n, dim = data.shape
    if dim > 3:
        raise ValueError(
            f"x must have 1 to 3 dimensions, but got {dim}; fit_density takes any number"
        )
    check_enough("x", min(n, math.floor(float(worth.sum()))), dim)
    check_spread("x", data.amin(0), data.amax(0))
    return data, worth
