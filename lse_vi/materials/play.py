r"""A material of phases with memory, which obeys the second law for all parameters.

A log-sum-exp potential is the energy of a mixture whose shares h_k adjust at once, with an entropy:

.. math:: -\tfrac1\rho \log \sum_k e^{-\rho f_k(x)}
    = \min_h \sum_k h_k f_k(x) + \tfrac1\rho \sum_k h_k \log h_k, \qquad \textstyle\sum_k h_k = 1

Here the same convex modes f_k are the energies of the phases, but the shares are internal states
that friction holds back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lse_vi.checks import check_count
from lse_vi.materials.elastic import Elastic
from lse_vi.materials.invariants import Invariants, check_beside
from lse_vi.materials.paths import Strains
from lse_vi.network.icnn import ICNN, softplus_inverse
from lse_vi.network.potential import LSEICNN
from lse_vi.signatures.checked import checked

# A, and k+ and k-, at the start, in units of strain_unit * stress_unit: friction that shows in the
# stress, but is small beside the energies, which are of order 1.
START_MIXING, START_THRESHOLD = 1.0, 0.3
BOWL_SLOPE = 0.3  # standard deviation of the slopes V: gentle, so that the tilt decides h


class Play(Elastic):
    r"""A material of K phases, with friction that holds back the shares.

    Use it for hysteresis that must obey the second law, such as that of shape-memory alloys. With
    two phases and the share h of the second,

    .. math::
        \Psi &= (1-h) f_1 + h f_2 - \tfrac A2 h (1-h), \\
        Y &= -\partial_h \Psi = f_1 - f_2 + A(\tfrac12 - h), \qquad Y \in \partial D(\dot h)

    with h in [0, 1], its conjugate force Y, the convex dissipation potential
    D = k+ max(h', 0) + k- max(-h', 0), and A, k+, k- > 0 (a generalised standard material: Halphen
    & Nguyen 1975; paper Eq. A-1, A-8 and A-10). h grows only at Y = k+, shrinks only at Y = -k-,
    and rests in between. As Psi is convex in h, a step is

    .. math::
        h_{n+1} &= \mathrm{clip}(h_n, l, u), \\
        l, u &= \mathrm{clip}\big(\tfrac12 + (f_1 - f_2 \mp k_\pm)/A, 0, 1\big)

    the exact minimiser of Psi(E_{n+1}, h) + D(h - h_n). The model does not depend on time, and has
    no discretisation error on a path along which f_1 - f_2 is monotone between the samples.

    More phases have K - 1 transitions. Transition j, with its own h_j, A_j and k_j, makes phase
    j + 1 out of the phase ``parents[j]``:

    .. math:: \Psi = f_1 + \sum_j h_j (f_{j+1} - f_{p_j}) - \tfrac{A_j}2 h_j (1 - h_j)

    For all parameters, paths and steps, the dissipation D(h_{n+1} - h_n) of a step is not negative,
    and Psi falls by at least as much when h moves at fixed strain. The balance
    work = change of Psi + dissipation holds in the limit of small steps.

    Args:
        potential: has a mode for each phase. The energies of the phases are f_k - log(s_k) / rho.
        invariants, strain_unit, stress_unit: as for :class:`~lse_vi.Elastic`.
        parents: for the phases after the first, the number, counted from 0, of that from which each
            forms; a chain 0, 1, ... by default. (0, 0) are two phases that form from the first,
            such as those of tension and compression.

    Raises:
        ValueError: as :class:`~lse_vi.Elastic`; for a potential of one mode or with units of its
            own, and for a parent that does not come before its phase.

    Example:
        >>> from lse_vi import LSEICNN, Isotropic
        >>> material = Play(LSEICNN(3, 2), Isotropic())
        >>> lost = material.dissipation(torch.randn(20, 1, 1) * torch.eye(3))
        >>> lost.shape, bool((lost >= 0).all())
        (torch.Size([20]), True)
    """

    flow: Tensor

    @checked
    def __init__(
        self,
        potential: LSEICNN,
        invariants: Invariants,
        *,
        strain_unit: float = 1.0,
        stress_unit: float = 1.0,
        parents: Sequence[int] | None = None,
    ) -> None:
        units = {"strain_unit": strain_unit, "stress_unit": stress_unit}
        super().__init__(potential, invariants, **units)
        if potential.modes < 2:
            raise ValueError(
                f"potential must have two modes or more, one for each phase, but has "
                f"{potential.modes}"
            )
        if not potential.units.plain:
            raise ValueError(
                "potential must have no units of its own, as those of a fit; strain_unit and "
                "stress_unit take their place"
            )
        self.transitions = potential.modes - 1
        self.parents = _check_parents(parents, self.transitions)
        # Shares of the phases are that of the first plus flow h: (phases, transitions).
        flow = torch.eye(potential.modes)[:, 1:] - torch.eye(potential.modes)[:, self.parents]
        self.register_buffer("flow", flow.to(potential.alpha), persistent=False)
        start = torch.tensor([[START_MIXING], [START_THRESHOLD], [START_THRESHOLD]])
        start = start.expand(3, self.transitions).to(potential.alpha)
        self.raw = nn.Parameter(softplus_inverse(start))

    @checked
    @torch.no_grad()
    def start(self, strain: Tensor) -> Play:
        """Set equal bowls around zero, tilted so that the phases change; for a fit.

        Without friction, the shares of a chain of phases would run from 0 to 1 one after another,
        from zero strain to the largest strain given. Call this before a fit: a share that no strain
        moves has no gradient, and a random start often has such a share.

        Args:
            strain: the paths to be fitted, (*paths, times, *event).

        Raises:
            ValueError: for strains that are all zero, modes that are not plain, or parents that are
                no chain.
        """
        network = self.potential.network
        if not isinstance(network, ICNN):
            raise ValueError(
                f"potential: start sets plain modes (network=ICNN), but got "
                f"{type(network).__name__}; set its centres by reset_parameters"
            )
        if self.parents != tuple(range(self.transitions)):
            raise ValueError(f"parents must be a chain 0, 1, ... for start, but are {self.parents}")
        x = self.prepare(strain).x.flatten(0, 1)
        if not bool(x.any()):
            raise ValueError(
                f"strain must not be zero everywhere, but is, with shape {tuple(strain.shape)}"
            )
        far = x[x.norm(dim=-1).argmax()]
        network.reset_parameters(torch.zeros_like(far).expand(len(self.flow), -1), slope=BOWL_SLOPE)
        for p in network.parameters():
            p[1:] = p[:1]
        # With s from 0 at zero to 1 at ``far``, the tilts make f_j - f_j+1 = A (m s - j + 1/2).
        count = torch.arange(self.transitions + 1).to(x)
        mixing = torch.cat([self.mixing[:1], self.mixing])
        tilt = (mixing * self.transitions * count).unsqueeze(-1)
        network.weight[:, -1] -= tilt * far / far.square().sum()
        network.add_offset_(0.5 * mixing * count.square())
        return self

    @property
    def mixing(self) -> Tensor:
        """A of each transition, (transitions,), in units of strain_unit * stress_unit."""
        return softplus(self.raw[0])

    @property
    def thresholds(self) -> Tensor:
        """k+ and k- of each transition, (2, transitions), in units of strain_unit * stress_unit.

        Stresses determine only k+ + k-, the dissipation of a full cycle: adding a constant to f_1
        and k+, and subtracting it from k-, changes no stress.
        """
        return softplus(self.raw[1:])

    def march(self, prepared: Strains) -> Tensor:
        """The states at the samples, (times, paths, transitions)."""
        return follow(*self._window(self._phases(prepared.x)))

    def unit_stress(self, prepared: Strains, state: Tensor) -> Tensor:
        """The stress in units of ``stress_unit``, (times, paths, *event)."""
        stack, layout = self.potential.network.stack().place(prepared.x)
        _, kept = stack.forward(layout.x)
        shares = self._shares(state)
        slope = layout.restore(stack.pullback(shares.reshape(1, -1, shares.shape[-1]).mT, kept))
        return self.invariants.stress(prepared.strain, slope)

    @checked
    def energy(self, strain: Tensor, state: Tensor) -> Tensor:
        """Psi(E, h): (*shape, *event) and (*shape, transitions) -> (*shape)."""
        event = tuple(self.invariants.event_shape)
        check_beside(strain, "state", state, event, (self.potential.modes - 1,))
        phases = self._phases(self.invariants(strain / self.strain_unit))
        psi = (self._shares(state) * phases).sum(-1)
        psi = psi - 0.5 * (self.mixing * state * (1 - state)).sum(-1)
        return self.strain_unit * self.stress_unit * psi

    @checked
    @torch.no_grad()
    def dissipation(self, strain: Tensor, times: Tensor | None = None) -> Tensor:
        """D(h_{n+1} - h_n), the energy lost in the step up to each sample, (*paths, times)."""
        h = self(strain, times).state
        change = h.diff(dim=-2, prepend=torch.zeros_like(h[..., :1, :]))
        grows, shrinks = self.thresholds
        lost = (torch.where(change > 0, grows, -shrinks) * change).sum(-1)
        return self.strain_unit * self.stress_unit * lost

    def _phases(self, x: Tensor) -> Tensor:
        """Energies of the phases at invariants (*shape, dim): (*shape, phases)."""
        return self.potential.mode_potentials(x) - self.potential.log_gates / self.potential.rho

    def _shares(self, state: Tensor) -> Tensor:
        """The share of each phase, (*shape, transitions) -> (*shape, phases)."""
        return nn.functional.pad(torch.ones_like(state[..., :1]), (0, self.transitions)) + (
            state @ self.flow.mT
        )

    def _window(self, phases: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and the highest state at which each rests, two (*shape, transitions)."""
        gain = -(phases @ self.flow)
        grows, shrinks = self.thresholds
        low = 0.5 + (gain - grows) / self.mixing
        high = 0.5 + (gain + shrinks) / self.mixing
        return low.clamp(0.0, 1.0), high.clamp(0.0, 1.0)


class Moves(NamedTuple):
    """Where states that follow their windows have last moved, each (times, *shape).

    Attributes:
        row: the last time of a move, 0 if there was none.
        up: whether that was a rise, to the lower edge of the window.
        moved: whether there was a move.
    """

    row: Tensor
    up: Tensor
    moved: Tensor

    def at(self, low: Tensor, high: Tensor) -> Tensor:
        """The states: the edges at which they last moved, gradients flowing."""
        edge = torch.where(self.up, low.gather(0, self.row), high.gather(0, self.row))
        return torch.where(self.moved, edge, torch.zeros_like(edge))


@torch.no_grad()
def moves(low: Tensor, high: Tensor) -> Moves:
    """The moves of h_n = clip(h_{n-1}, low_n, high_n) from h = 0, for windows (times, *shape).

    Two clips in a row are one clip, so that a doubling scan takes log2(times) operations.
    """
    bottom, top = low, high
    reach = 1
    while reach < len(low):
        early = torch.stack([bottom[:-reach], top[:-reach]])
        late = torch.minimum(torch.maximum(early, bottom[reach:]), top[reach:])
        bottom = torch.cat([bottom[:reach], late[0]])
        top = torch.cat([top[:reach], late[1]])
        reach *= 2
    h = torch.minimum(bottom.clamp_min(0.0), top)
    change = h.diff(dim=0, prepend=torch.zeros_like(h[:1]))
    count = torch.arange(1, len(h) + 1, device=h.device).reshape(-1, *(1,) * (h.dim() - 1))
    last = torch.where(change != 0, count, 0).cummax(0).values  # 0: still as at the start
    row = (last - 1).clamp_min(0)
    return Moves(row, change.gather(0, row) > 0, last > 0)


def follow(low: Tensor, high: Tensor) -> Tensor:
    """States h_n = clip(h_{n-1}, low_n, high_n) from h = 0, (times, *shape), gradients flowing.

    Example:
        >>> low, high = torch.tensor([0.0, 0.5, 0.1, 0.0]), torch.tensor([0.2, 0.9, 0.6, 0.3])
        >>> follow(low, high).tolist()
        [0.0, 0.5, 0.5, 0.30000001192092896]
    """
    return moves(low, high).at(low, high)


def _check_parents(parents: Sequence[int] | None, transitions: int) -> tuple[int, ...]:
    """``parents`` as a tuple, each a phase that comes before its own."""
    if parents is None:
        return tuple(range(transitions))
    given = tuple(check_count("parents", parent, minimum=0) for parent in parents)
    if len(given) != transitions or any(parent > j for j, parent in enumerate(given)):
        raise ValueError(
            f"parents must be {transitions} numbers, the j-th at most j, counted from 0, "
            f"but got {given}"
        )
    return given
