r"""Potentials with memory: the force dE/dx of a potential E(x, h), whose states h follow the path.

.. math:: y = \partial_x E(x, h), \qquad dh/ds = NN(x, dx/ds, h)      (paper Eq. 29-31)

with s the length of the path (rate-independent materials) or time (the paper's form). The terms
here are those of a material: x is a strain, E the free energy Psi, and y a stress. With
:class:`~lse_vi.materials.Components` the input is any vector.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lse_vi.checks import check_finite, check_object, check_tensor
from lse_vi.materials.clocks import ArcLength, Clock
from lse_vi.materials.elastic import Elastic
from lse_vi.materials.grids import Grid, SampleSteps, Steps, arrival, last, pick, read
from lse_vi.materials.invariants import Invariants
from lse_vi.materials.paths import Drives, restore
from lse_vi.materials.steppers import Exponential, Stepper
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.unroll import unroll
from lse_vi.signatures.checked import checked


class Memory(Elastic):
    r"""A material whose internal states follow the path, at a rate given by a network.

    .. math::
        S &= \partial_E \Psi(I(E), h), \\
        dh/ds &= NN(I(E), I(E, dE/ds), h), \\
        h &= 0 \text{ at the start}

    Use it if the stress depends on the path of strain, and no more is known about the material.
    The states are stepped explicitly. A relaxation rate reads only I(E) and h.

    Args:
        potential: as for :class:`Elastic`, of dim invariants.dim + rate.states.
        invariants, strain_unit, stress_unit: as for :class:`Elastic`.
        rate: the network of dh/ds: a :class:`~lse_vi.materials.Rate` of invariants.rate_dim
            features, or a :class:`~lse_vi.materials.RelaxationRate` of invariants.dim.
        clock: what s is: :class:`~lse_vi.materials.ArcLength`, the default, or
            :class:`~lse_vi.materials.Time`.
        stepper: :class:`~lse_vi.materials.Euler`, :class:`~lse_vi.materials.Heun` or, for a
            relaxation rate, :class:`~lse_vi.materials.Exponential`.
        steps: where the steps are taken: :class:`~lse_vi.materials.SampleSteps`, the default, or
            :class:`~lse_vi.materials.EvenSteps`, which do not depend on how densely a path is
            sampled.

    Raises:
        ValueError: as :class:`Elastic`; for a potential that does not read all states, a rate of
            other features, or a stepper that cannot step the rate; when called, for times that do
            not increase, and for no times if the clock needs them.

    Example:
        >>> from lse_vi import LSEICNN, Isotropic
        >>> from lse_vi.materials import Exponential, RelaxationRate
        >>> material = Memory(
        ...     LSEICNN(3 + 2, 2), Isotropic(), RelaxationRate(3, 2), stepper=Exponential()
        ... )
        >>> response = material(torch.zeros(4, 101, 3, 3))
        >>> response.stress.shape, response.state.shape
        (torch.Size([4, 101, 3, 3]), torch.Size([4, 101, 2]))
    """

    @checked
    def __init__(
        self,
        potential: LSEICNN,
        invariants: Invariants,
        rate: Any,
        *,
        stepper: Stepper,
        clock: Clock | None = None,
        steps: Steps | None = None,
        strain_unit: float = 1.0,
        stress_unit: float = 1.0,
    ) -> None:
        check_object("rate", rate, "read", "Rate(...) or RelaxationRate(...)")
        self.states = rate.states
        units = {"strain_unit": strain_unit, "stress_unit": stress_unit}
        super().__init__(potential, invariants, **units)
        at_rest = torch.zeros(1, *invariants.event_shape).to(potential.alpha)
        features = rate.read(invariants, at_rest, at_rest).shape[-1]
        if getattr(rate, "features", features) != features:
            raise ValueError(
                f"rate must read {features} features of these invariants, but was made for "
                f"{rate.features}"
            )
        if isinstance(stepper, Exponential) and not hasattr(rate, "relaxation"):
            raise ValueError(
                f"stepper: Exponential() steps a RelaxationRate, but rate is a "
                f"{type(rate).__name__}; use Euler() or Heun()"
            )
        self.rate, self.stepper = rate, stepper
        self.clock, self.steps = clock or ArcLength(), steps or SampleSteps()

    def prepare(self, strain: Tensor, times: Tensor | None = None) -> Drives:
        """The features that drive the states along the path, computed once for a fit."""
        path = self._path(strain)
        events = len(self.invariants.event_shape)
        points = path.flatten(-events) if events > 1 else path
        grid = Grid(self.steps(self.strain_unit * points))
        if times is not None:
            times = grid.refine(_check_times(times, self._lead(strain)).to(path).mT)
        at_steps = grid.refine(path)
        rate, ds = self.clock(at_steps, times, events)
        return Drives(
            strain=path,
            x=self.invariants(path),
            start=self.rate.read(self.invariants, at_steps[:-1], rate),
            end=self.rate.read(self.invariants, at_steps[1:], rate),
            ds=ds,
            sample=self.rate.read(self.invariants, path, pick(rate, arrival(grid.position)[0])),
            position=grid.position,
            x_steps=self.invariants(at_steps),
        )

    def march(self, prepared: Drives) -> Tensor:
        """The states at the samples, (times, paths, states).

        A sample within a step is reached by a shorter step of its own. Linear interpolation between
        the states at both ends of the step would round off the corner where a state begins to move.
        """
        step, share = arrival(prepared.position)
        h, ds = pick(self._unroll(prepared), step), pick(prepared.ds, step)
        start, end = self.rate.drive(pick(prepared.start, step)), self.rate.drive(prepared.sample)
        return self.stepper(self.rate, h, start, end, share.unsqueeze(-1) * ds)

    @checked
    @torch.no_grad()
    def dissipation(self, strain: Tensor, times: Tensor | None = None) -> Tensor:
        r"""Energy lost in the step up to each sample, (*paths, times); the first is zero.

        Each step has two parts. First the strain moves at fixed states, and all of its work is
        stored in Psi. Then the states move at fixed strain, and what Psi loses is dissipated
        exactly:

        .. math:: \Psi(E_{n+1}, h_n) - \Psi(E_{n+1}, h_{n+1})

        This model does not keep that from being negative, and stresses alone do not determine Psi
        as a function of h. A model that obeys the second law is :class:`~lse_vi.Play`.
        """
        prepared = self.prepare(strain, times)
        states = self._unroll(prepared)
        x = prepared.x_steps[1:]
        before = self.potential(torch.cat([x, states[:-1]], dim=-1))
        after = self.potential(torch.cat([x, states[1:]], dim=-1))
        total = nn.functional.pad((before - after).cumsum(0), (0, 0, 1, 0))
        lost = read(total, prepared.position).diff(dim=0, prepend=torch.zeros_like(total[:1]))
        return self.strain_unit * self.stress_unit * restore(lost, self._lead(strain))

    def _unroll(self, prepared: Drives) -> Tensor:
        """The states at the steps, (steps + 1, paths, states)."""
        steps = last(prepared.position)
        start, end = (self.rate.drive(part[:steps]) for part in (prepared.start, prepared.end))

        def step(h: Tensor, start: Tensor, end: Tensor, ds: Tensor) -> Tensor:
            return self.stepper(self.rate, h, start, end, ds)

        at_rest = prepared.x.new_zeros(prepared.x.shape[1], self.states)
        return unroll(step, at_rest, start, end, prepared.ds[:steps])


def _check_times(times: Tensor, lead: torch.Size) -> Tensor:
    """``times`` as (paths, times), which must increase."""
    check_tensor("times", times)
    if times.shape not in (lead, lead[-1:]):
        raise ValueError(
            f"times must have shape {tuple(lead[-1:])} or {tuple(lead)}, as the strain, but got "
            f"{tuple(times.shape)}"
        )
    check_finite("times", times)
    if not bool((times.diff(dim=-1) > 0).all()):
        raise ValueError("times must increase along every path, but some step is not positive")
    return times.expand(lead).reshape(-1, lead[-1])
