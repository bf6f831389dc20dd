"""A guide with several modes for any Pyro model with continuous latent variables."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pyro
import torch
from pyro.infer.autoguide import init_to_median
from torch import Tensor

from lse_vi.checks import as_levels, check_count, check_counts, check_positive
from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.rule import Method
from lse_vi.fitting.random_state import seeded
from lse_vi.guides.latent_sites import LatentDensity, LatentSites, default_method, in_training
from lse_vi.guides.peak_search import Search, find_peaks, nearest_normal
from lse_vi.guides.peaks import Peaks
from lse_vi.guides.placement import place
from lse_vi.guides.proposal import Prior, prior_units
from lse_vi.joint.latents import (
    PRIOR_DRAWS,
    prior_draws,
)
from lse_vi.joint.log_joint import LogJoint
from lse_vi.joint.refusals import check_whole
from lse_vi.joint.supports import is_angle
from lse_vi.network.icnn import WhitenedICNN
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.linear_algebra import log_det
from lse_vi.random.draws import randn
from lse_vi.random.turns import own_draws, taking_turns
from lse_vi.signatures.checked import checked

FLAT_STARTS = 16  # of descents that find the units of a model with an improper prior
FRESH_MODES = 8  # of a guide before its modes are known, if no number is given
SUMMARY_DRAWS = 20_000  # behind medians and quantiles: a median to 1 % of the standard deviation
GUIDE_GATE = 0.5  # of every mode at the start: any value serves, as equal gates cancel in q


class AutoLSEICNN(LatentSites):
    r"""An ``AutoGuide`` with several modes: q(z) = exp(-E(z)) / Z over unconstrained latents z.

    Use it in place of Pyro's autoguides where a posterior may have several modes. E is an
    :class:`~lse_vi.LSEICNN` of strongly convex modes with rho = 1, so q is a mixture of log-concave
    densities that is normalised and sampled exactly. :func:`~lse_vi.fit_guide` finds the modes and
    trains the guide. The guide can also be trained by ``SVI``, with :class:`~lse_vi.EnergyELBO` or
    with ``Trace_ELBO`` (by the score function, as q has no ``rsample``). Before ``SVI``, call
    :meth:`find_modes`: otherwise the first step does, and its search cannot be looked at first.

    Args:
        model: a Pyro model. Its continuous latents are the guide's; discrete ones with finitely
            many values are summed out.
        modes: the largest number of modes K; by default what the search for peaks finds, and up to
            eight more. Modes are added where peaks are not Gaussian, as long as they improve the
            fit.
        hidden: widths of the hidden layers of each mode; () makes a Gaussian mixture.
        init_loc_fn: where the guide starts before modes are known, as for all autoguides.
        init_scale: standard deviation of the modes at that start, in unconstrained coordinates.
        method: how log Z is found, as in :class:`~lse_vi.LSEDensity`.

    Raises:
        ValueError: for a discrete latent variable whose values cannot be listed.
        RuntimeError: for a model without latent variables.

    Example:
        >>> import pyro.distributions as dist
        >>> def model():
        ...     x = pyro.sample("x", dist.Normal(0.0, 3.0))
        ...     pyro.sample("y", dist.Normal(x**2, 1.0), obs=torch.tensor(4.0))
        >>> guide = AutoLSEICNN(model, modes=2)
        >>> len(guide.find_modes().peaks)
        2
        >>> guide()["x"].shape
        torch.Size([])
    """

    potential: LSEICNN

    @checked
    def __init__(
        self,
        model: Callable[..., Any],
        *,
        modes: int | None = None,
        hidden: Sequence[int] = (10, 10),
        init_loc_fn: Callable[[Any], Tensor] = init_to_median,
        init_scale: float = 0.1,
        method: Method | None = None,
    ) -> None:
        super().__init__(model, init_loc_fn)
        self.modes = None if modes is None else check_count("modes", modes)
        self.hidden = check_counts("hidden", hidden)
        self.init_scale = check_positive("init_scale", init_scale)
        self.method = method
        self._density: tuple[Any, LSEDensity] | None = None
        self.search: Search | None = None
        self._fresh = True  # until its modes are found, or its parameters loaded

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_density": None}

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        # The state may have fewer modes than a new guide: a fit keeps only as many as it needs.
        alpha = state.get(f"{prefix}potential.alpha")
        if alpha is not None and self.prototype_trace is not None:
            self.install(self.blank(len(alpha), like=self.potential.alpha))
            self._fresh = False
        super()._load_from_state_dict(state, prefix, *rest)

    # -- Pyro's interface -----------------------------------------------------------------------

    @own_draws()
    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        loc = self._init_loc()
        pot = self.blank(modes := self.modes or FRESH_MODES, like=loc)
        centers = loc + self.init_scale * randn(modes, self.latent_dim).to(loc)
        factor = torch.eye(self.latent_dim).to(loc) / self.init_scale
        pot.network.reset_parameters(centers, factor.expand(modes, -1, -1))
        self.install(pot)
        self._fresh = True

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """A draw of each site; in a first step of ``SVI`` the modes are found before."""
        if self.prototype_trace is None:
            self._setup_prototype(*args, **kwargs)
        if in_training():
            self.place_once(*args, **kwargs)
        drawn: dict[str, Tensor] = super().forward(*args, **kwargs)
        return drawn

    def place_once(self, *args: Any, **kwargs: Any) -> None:
        """:meth:`find_modes`, unless the guide was placed, trained or loaded before."""
        if self._fresh:
            self._fresh = False
            try:
                self.find_modes(*args, **kwargs)
            except (ValueError, RuntimeError) as error:
                warnings.warn(
                    "AutoLSEICNN: its modes start near one point, and may all end in one, as "
                    f"find_modes was not called before the first step and fails now: {error}",
                    stacklevel=2,
                )

    def get_posterior(self, *args: Any, **kwargs: Any) -> LSEDensity:
        """The guide's density over the unconstrained latent vector, an :class:`LSEDensity`."""
        if self._pyro_context.active:  # called by Pyro, which looks the parameters up by name
            self.claim_name()
        self._check_met()
        pot = self.potential
        # A density caches log Z, so the same one is returned until a parameter changes.
        version = [(id(p), p._version) for p in pot.parameters()]
        if (known := self._density) is None or known[0] != version:
            known = self._density = version, self.density(pot)
        return known[1]

    @torch.no_grad()
    def median(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Median of each unconstrained coordinate, from draws, mapped to the sites' supports."""
        return {name: value[0] for name, value in self.quantiles([0.5], *args, **kwargs).items()}

    @checked
    @torch.no_grad()
    def quantiles(
        self, quantiles: Sequence[float] | Tensor, *args: Any, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Quantiles of each unconstrained coordinate, from draws, mapped to the sites' supports.

        Returns a tensor (quantiles, *shape) for each site. The same draws serve every call, so
        calls agree with one another.
        """
        with seeded(0):
            draws = self.get_posterior(*args, **kwargs).sample((SUMMARY_DRAWS,))
        levels = as_levels("quantiles", quantiles).to(draws)
        sites = self.prototype_trace.nodes.values()
        if self.moving or any(is_angle(site) for site in sites if "fn" in site):
            # The value of a site at a quantile of one coordinate depends on other coordinates.
            each = self.values(draws).items()
            return {name: torch.quantile(value, levels, dim=0) for name, value in each}
        return self.values(torch.quantile(draws, levels, dim=0))

    # -- modes ----------------------------------------------------------------------------------

    @torch.no_grad()
    def in_units(self, *args: Any, **kwargs: Any) -> tuple[LogJoint, Prior]:
        """The log joint in coordinates of order one, and the prior in them.

        The prior's draws have median 0 and spread 1. With an improper prior, the units are those of
        the curvature at a peak, and the draws are normal about it.
        """
        log_joint, start = self.log_joint(*args, **kwargs), self._init_loc()
        for name, site in self.prototype_trace.iter_stochastic_nodes():
            check_whole(name, site)
        drawn = prior_draws(self._prior[0], self._names, args, kwargs)
        if drawn is None:
            starts = start + randn(FLAT_STARTS, len(start)).to(start)
            shift, root = nearest_normal(log_joint, starts)
            scale = root.norm(dim=1)
            draws = randn(PRIOR_DRAWS, len(start)).to(start) @ (root / scale.unsqueeze(1)).mT
            return log_joint.in_units(shift, scale), Prior(draws)
        drawn = torch.cat([start.unsqueeze(0), self._kept(drawn)])
        whole = drawn.isfinite().all(-1)
        drawn = drawn[whole]
        shift, scale = prior_units(drawn)
        log_joint = log_joint.in_units(shift, scale)
        drawn = (drawn - shift) / scale
        # Draws that are not finite are left out: the density of those left is not the prior's.
        return log_joint, Prior.of(log_joint, drawn) if bool(whole.all()) else Prior(drawn)

    def find_modes(self, *args: Any, **kwargs: Any) -> Search:
        """Search for the peaks of the log joint and start the guide on them, by Laplace's method.

        Returns:
            The search, with its peaks in unconstrained coordinates.

        Raises:
            ValueError: for a log joint that is nowhere finite or unbounded, or a subsampled plate.
        """
        log_joint, prior = self.in_units(*args, **kwargs)
        return self.start_on(find_peaks(log_joint, prior.draws), log_joint, prior)

    def start_on(self, search: Search, log_joint: LogJoint, prior: Prior) -> Search:
        """Put the guide on the peaks of a search, in the units of ``log_joint``; return it."""
        self.install(self.placed_on(search.peaks, log_joint, prior), log_joint)
        self.search = search._replace(peaks=search.peaks.outside(log_joint))
        return self.search

    @torch.no_grad()
    def placed_on(self, peaks: Peaks, log_joint: LogJoint, prior: Prior) -> LSEICNN:
        """A potential with a mode on each peak, and more where peaks are not Gaussian.

        Args:
            peaks, log_joint, prior: in the units of ``log_joint``, as ``find_peaks`` and
                :meth:`in_units` give them; so is the potential.
        """
        placed = place(peaks, log_joint, self.modes, prior)
        root = placed.scale_tril
        pot = self.blank(len(root), like=root)
        eye = torch.eye(pot.dim).to(root).expand_as(root)
        factor = torch.linalg.solve_triangular(root, eye, upper=False)
        pot.network.reset_parameters(placed.loc, factor)
        # ``height`` is the log density at the centre of a Gaussian with the mode's mass. The value
        # f that the network has there already is subtracted.
        f = pot.mode_potentials(placed.loc).diagonal()
        height = placed.log_share + log_det(factor) - 0.5 * pot.dim * math.log(2 * math.pi)
        pot.network.add_offset_(-(height + f))
        return pot

    @torch.no_grad()
    def potential_in(self, log_joint: LogJoint) -> LSEICNN:
        """A copy of the potential in the units of ``log_joint``."""
        pot = copy.deepcopy(self.potential)
        scale = torch.ones(pot.dim).to(pot.alpha) / log_joint.scale
        pot.network.compose_affine_(-log_joint.shift * scale, scale)
        return pot

    def density(self, potential: LSEICNN) -> LSEDensity:
        """exp(-E) of a potential as this guide normalises it."""
        return LatentDensity(potential, method=self.method or default_method(potential.dim))

    def install(self, potential: LSEICNN, log_joint: LogJoint | None = None) -> None:
        """Make ``potential`` that of the guide, also in Pyro's parameter store.

        It is in the units of ``log_joint``, and in unconstrained coordinates without one.
        """
        if log_joint is not None:
            one = torch.ones(potential.dim).to(potential.alpha)
            potential.network.compose_affine_(log_joint.shift * one, log_joint.scale * one)
        potential.log_rho.requires_grad_(False)
        potential.eval()  # else Pyro warns that log_rho is not trained
        self.potential = potential
        self._fresh = False
        self.claim_name()

    @taking_turns()
    def claim_name(self) -> None:
        """Remove another guide's parameters of the same name from Pyro's parameter store.

        Guides share a name unless a PyroModule holds them. Pyro would use the parameters that were
        stored first, so an optimiser would change those of another guide.
        """
        store, own = pyro.get_param_store(), {id(p) for p in self.parameters()}
        for name, p in list(store.named_parameters()):
            if name.startswith(f"{self._pyro_name}.potential$$$") and id(p) not in own:
                del store[name]

    def blank(self, modes: int, like: Tensor) -> LSEICNN:
        """A new potential with the dtype and device of ``like``."""
        form: dict[str, Any] = {"hidden": self.hidden, "network": WhitenedICNN}
        kind: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
        pot = LSEICNN(self.latent_dim, modes, rho=1.0, gate=GUIDE_GATE, **form, **kind)
        pot.log_rho.requires_grad_(False)  # rho = 1: a mixture of log-concave densities
        return pot
