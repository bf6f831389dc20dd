"""Materials without memory: stress from strain alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lse_vi.checks import check_positive
from lse_vi.materials.invariants import Invariants, check_beside, check_strain
from lse_vi.materials.paths import Strains, restore
from lse_vi.network.potential import LSEICNN
from lse_vi.signatures.checked import checked


class Response(NamedTuple):
    """What a material model returns for paths of strain.

    Attributes:
        stress: dPsi/dE, (*paths, times, *event), in the unit of the data.
        state: internal states h, (*paths, times, states); none for :class:`Elastic`.
    """

    stress: Tensor
    state: Tensor


class Elastic(nn.Module):
    r"""A material without memory: S = dPsi/dE, where Psi is an LSE-ICNN potential of invariants.

    Use it if the stress depends on the strain alone, not on the path to it.

    Args:
        potential: Psi / (strain_unit stress_unit), a function of the invariants of E / strain_unit.
        invariants: the set that it reads, such as :class:`~lse_vi.Isotropic`.
        strain_unit: a typical strain; networks learn best on numbers near one.
        stress_unit: a typical stress, in the unit of the data.

    Raises:
        ValueError: for a potential with a batch shape, or of another dimension than the invariants;
            when called, for strains of another shape, not finite or not symmetric.
        TypeError: when called with strains of another dtype than the parameters.

    Example:
        >>> from lse_vi import LSEICNN, Isotropic
        >>> material = Elastic(LSEICNN(3, 2), Isotropic(), strain_unit=0.1)
        >>> material(torch.zeros(4, 101, 3, 3)).stress.shape
        torch.Size([4, 101, 3, 3])
    """

    states = 0

    @checked
    def __init__(
        self,
        potential: LSEICNN,
        invariants: Invariants,
        *,
        strain_unit: float = 1.0,
        stress_unit: float = 1.0,
    ) -> None:
        super().__init__()
        if potential.dim != invariants.dim + self.states or potential.batch_shape:
            raise ValueError(
                f"potential must be a single one that reads {invariants.dim} invariants and "
                f"{self.states} states, but it has dim {potential.dim} and batch_shape "
                f"{tuple(potential.batch_shape)}"
            )
        self.potential, self.invariants = potential, invariants
        self.strain_unit = check_positive("strain_unit", strain_unit)
        self.stress_unit = check_positive("stress_unit", stress_unit)

    def forward(self, strain: Tensor, times: Tensor | None = None) -> Response:
        """The response to paths of strain, with the states h = 0 at the first time.

        Args:
            strain: E, (*paths, times, *event); symmetric if it is a second-order tensor.
            times: (*paths, times) or (times,), increasing; needed by the clock
                :class:`~lse_vi.materials.Time` alone.
        """
        prepared = self.prepare(strain, times)
        state = self.march(prepared)
        lead = self._lead(strain)
        stress = self.stress_unit * self.unit_stress(prepared, state)
        return Response(restore(stress, lead), restore(state, lead))

    def prepare(self, strain: Tensor, times: Tensor | None = None) -> Any:
        """All that does not depend on the parameters, to be computed once for a fit."""
        path = self._path(strain)
        return Strains(path, self.invariants(path))

    def march(self, prepared: Any) -> Tensor:
        """The states at the samples, (times, paths, states)."""
        return prepared.x[..., :0]

    def unit_stress(self, prepared: Any, state: Tensor) -> Tensor:
        """The stress in units of ``stress_unit``, (times, paths, *event)."""
        slope = self.potential.gradient(torch.cat([prepared.x, state], dim=-1))
        return self.invariants.stress(prepared.strain, slope[..., : self.invariants.dim])

    @checked
    def energy(self, strain: Tensor, state: Tensor) -> Tensor:
        """Psi(E, h): (*shape, *event) and (*shape, states) -> (*shape)."""
        event = tuple(self.invariants.event_shape)
        check_beside(strain, "state", state, event, (self.states,))
        x = self.invariants(strain / self.strain_unit)
        unit = self.strain_unit * self.stress_unit
        return unit * self.potential(torch.cat([x, state], dim=-1))

    @checked
    def dissipation(self, strain: Tensor, times: Tensor | None = None) -> Tensor:
        """Energy lost in the step up to each sample, (*paths, times): zero without memory."""
        return restore(torch.zeros_like(self.prepare(strain).x[..., 0]), self._lead(strain))

    def _lead(self, strain: Tensor) -> torch.Size:
        """The shape (*paths, times) of ``strain``."""
        return strain.shape[: strain.dim() - len(self.invariants.event_shape)]

    def _path(self, strain: Tensor) -> Tensor:
        """Checked strains in the model's unit, (times, paths, *event)."""
        event = tuple(self.invariants.event_shape)
        check_strain("strain", strain, event)
        if strain.dtype != self.potential.alpha.dtype:
            raise TypeError(
                f"strain must be of dtype {self.potential.alpha.dtype}, as the parameters, "
                f"but got {strain.dtype}"
            )
        flat = strain.reshape(-1, *strain.shape[-len(event) - 1 :])
        return (flat / self.strain_unit).transpose(0, 1).contiguous()
