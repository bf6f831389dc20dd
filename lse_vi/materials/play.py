r"""A material of two phases with memory, which obeys the second law for all parameters.

A log-sum-exp potential is the energy of a mixture whose shares h_k adjust at once, with an entropy:

.. math:: -\tfrac1\rho \log \sum_k e^{-\rho f_k(x)}
    = \min_h \sum_k h_k f_k(x) + \tfrac1\rho \sum_k h_k \log h_k, \qquad \textstyle\sum_k h_k = 1

Here the same convex modes f_k are the energies of the phases, but the shares are internal states
that friction holds back.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lse_vi.materials.elastic import Elastic
from lse_vi.materials.invariants import Invariants
from lse_vi.materials.paths import Strains
from lse_vi.network.icnn import ICNN, softplus_inverse
from lse_vi.network.potential import LSEICNN

# A, and k+ and k-, at the start, in units of strain_unit * stress_unit: friction that shows in the
# stress, but is small beside the energies, which are of order 1.
START_MIXING, START_THRESHOLD = 1.0, 0.3
BOWL_SLOPE = 0.3  # standard deviation of the slopes V: gentle, so that the tilt decides h


class Play(Elastic):
    r"""A material of two phases, with friction that holds back the share h of the second.

    Use it for hysteresis that must obey the second law, such as that of shape-memory alloys.

    .. math::
        \Psi = (1-h) f_1 + h f_2 - \tfrac A2 h (1-h), \qquad
        Y = -\partial_h \Psi = f_1 - f_2 + A(\tfrac12 - h), \qquad Y \in \partial D(\dot h)

    with h in [0, 1], its conjugate force Y, the convex dissipation potential
    D = k+ max(h', 0) + k- max(-h', 0), and A, k+, k- > 0 (a generalised standard material: Halphen
    & Nguyen 1975; paper Eq. A-1, A-8 and A-10). h grows only at Y = k+, shrinks only at Y = -k-,
    and rests in between. As Psi is convex in h, a step is

    .. math:: h_{n+1} = \mathrm{clip}(h_n, l, u), \qquad
        l, u = \mathrm{clip}\big(\tfrac12 + (f_1 - f_2 \mp k_\pm)/A, 0, 1\big)

    the exact minimiser of Psi(E_{n+1}, h) + D(h - h_n). The model does not depend on time, and has
    no discretisation error on a path along which f_1 - f_2 is monotone between the samples.

    For all parameters, paths and steps, the dissipation D(h_{n+1} - h_n) of a step is not negative,
    and Psi falls by at least as much when h moves at fixed strain. The balance
    work = change of Psi + dissipation holds in the limit of small steps.

    Args:
        potential: has two plain modes. The energies of the phases are f_k - log(s_k) / rho.
        invariants, strain_unit, stress_unit: as for :class:`~lse_vi.Elastic`.

    Raises:
        ValueError: as :class:`~lse_vi.Elastic`; for a potential without two plain modes.

    Example:
        >>> from lse_vi import LSEICNN, Isotropic
        >>> material = Play(LSEICNN(3, 2), Isotropic())
        >>> lost = material.dissipation(torch.randn(20, 1, 1) * torch.eye(3))
        >>> lost.shape, bool((lost >= 0).all())
        (torch.Size([20]), True)
    """

    def __init__(
        self,
        potential: LSEICNN,
        invariants: Invariants,
        *,
        strain_unit: float = 1.0,
        stress_unit: float = 1.0,
    ) -> None:
        units = {"strain_unit": strain_unit, "stress_unit": stress_unit}
        super().__init__(potential, invariants, **units)
        if potential.modes != 2:
            raise ValueError(
                f"potential must have two modes, one for each phase, but has {potential.modes}"
            )
        if not potential.units.plain:
            raise ValueError(
                "potential must have no units of its own, as those of a fit; strain_unit and "
                "stress_unit take their place"
            )
        if not isinstance(potential.network, ICNN):
            raise ValueError(
                f"potential: expected plain modes (network=ICNN), "
                f"but got {type(potential.network).__name__}"
            )
        start = torch.tensor([START_MIXING, START_THRESHOLD, START_THRESHOLD]).to(potential.alpha)
        self.raw = nn.Parameter(softplus_inverse(start))

    @property
    def _network(self) -> ICNN:
        """The network of the potential, known to be plain."""
        return cast(ICNN, self.potential.network)

    @torch.no_grad()
    def start(self, strain: Tensor) -> Play:
        """Set two equal bowls around zero, the second tilted so that the phase changes; for a fit.

        Without friction, the share of the second phase would run from 0 at zero strain to 1 at the
        largest strain given. Call this before a fit: a share that no strain moves has no gradient,
        and a random start often has such a share.

        Args:
            strain: the paths to be fitted, (*paths, times, *event).

        Raises:
            ValueError: for strains that are all zero.
        """
        x = self.prepare(strain).x.flatten(0, 1)
        if not bool(x.any()):
            raise ValueError(
                f"strain must not be zero everywhere, but is, with shape {tuple(strain.shape)}"
            )
        far = x[x.norm(dim=-1).argmax()]
        self._network.reset_parameters(torch.zeros_like(far).expand(2, -1), slope=BOWL_SLOPE)
        for p in self._network.parameters():
            p[1] = p[0]
        # The tilt makes f_1 - f_2 run from -A/2 at zero to A/2 at ``far``.
        self._network.weight[1, -1] -= self.mixing * far / far.square().sum()
        self._network.add_offset_(torch.stack([torch.zeros_like(self.mixing), 0.5 * self.mixing]))
        return self

    @property
    def mixing(self) -> Tensor:
        """A, in units of strain_unit * stress_unit."""
        return softplus(self.raw[0])

    @property
    def thresholds(self) -> Tensor:
        """(k+, k-), in units of strain_unit * stress_unit.

        Stresses determine only k+ + k-, the dissipation of a full cycle: adding a constant to f_1
        and k+, and subtracting it from k-, changes no stress.
        """
        return softplus(self.raw[1:])

    def march(self, prepared: Strains) -> Tensor:
        """The states at the samples, (times, paths, 1)."""
        low, high = self._window(self._phases(prepared.x))
        h, states = torch.zeros_like(low[0]), []
        for bottom, top in zip(low, high, strict=True):
            h = torch.minimum(torch.maximum(h, bottom), top)
            states.append(h)
        return torch.stack(states).unsqueeze(-1)

    def unit_stress(self, prepared: Strains, state: Tensor) -> Tensor:
        """The stress in units of ``stress_unit``, (times, paths, *event)."""
        stack, layout = self._network.stack().place(prepared.x)
        _, kept = stack.forward(layout.x)
        shares = torch.cat([1 - state, state], dim=-1).reshape(1, -1, 2).mT
        slope = layout.restore(stack.pullback(shares, kept))
        return self.invariants.stress(prepared.strain, slope)

    def energy(self, strain: Tensor, state: Tensor) -> Tensor:
        """Psi(E, h): (*shape, *event) and (*shape, 1) -> (*shape)."""
        first, second = self._phases(self.invariants(strain / self.strain_unit)).unbind(-1)
        h = state.squeeze(-1)
        psi = (1 - h) * first + h * second - 0.5 * self.mixing * h * (1 - h)
        return self.strain_unit * self.stress_unit * psi

    @torch.no_grad()
    def dissipation(self, strain: Tensor, times: Tensor | None = None) -> Tensor:
        """D(h_{n+1} - h_n), the energy lost in the step up to each sample, (*paths, times)."""
        h = self(strain, times).state[..., 0]
        change = h.diff(dim=-1, prepend=torch.zeros_like(h[..., :1]))
        grows, shrinks = self.thresholds
        lost = torch.where(change > 0, grows, -shrinks) * change
        return self.strain_unit * self.stress_unit * lost

    def _phases(self, x: Tensor) -> Tensor:
        """Energies of both phases at invariants (*shape, dim): (*shape, 2)."""
        return self.potential.mode_potentials(x) - self.potential.log_gates / self.potential.rho

    def _window(self, phases: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and the highest share at which h rests, each (*shape)."""
        gain = phases[..., 0] - phases[..., 1]
        grows, shrinks = self.thresholds
        low = 0.5 + (gain - grows) / self.mixing
        high = 0.5 + (gain + shrinks) / self.mixing
        return low.clamp(0.0, 1.0), high.clamp(0.0, 1.0)
