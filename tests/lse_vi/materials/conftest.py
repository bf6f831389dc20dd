"""Paths of strain, and a model of each kind."""

import pytest
import torch

from lse_vi import LSEICNN, Elastic, Isotropic, Memory, TransverselyIsotropic
from lse_vi.materials.grids import EvenSteps
from lse_vi.materials.rates import Rate, RelaxationRate
from lse_vi.materials.steppers import Euler, Exponential

STATES = 3
UNITS = {"strain_unit": 0.2, "stress_unit": 0.5}


def _strains(*lead, times=9, scale=0.2):
    """Smooth random paths of symmetric strains, (*lead, times, 3, 3)."""
    s = torch.linspace(0, 1, times).reshape(-1, 1, 1)
    a, b = scale * torch.randn(2, *lead, 1, 3, 3)
    e = a * s + b * torch.sin(5 * s)
    return (e + e.mT) / 2


@pytest.fixture(scope="session")
def strains():
    return _strains


def _relaxing(invariants=None, stepper=None, **options):
    invariants = invariants or TransverselyIsotropic()
    rate = RelaxationRate(invariants.dim, STATES, hidden=(7,))
    potential = LSEICNN(invariants.dim + STATES, 2, hidden=(5,))
    options = {"steps": EvenSteps(0.05), **UNITS, **options}
    return Memory(potential, invariants, rate, stepper=stepper or Exponential(), **options)


@pytest.fixture(scope="session")
def relaxing():
    """States that relax towards an interval."""
    return _relaxing


def _plain(clock, stepper=None):
    invariants = Isotropic()
    rate = Rate(invariants.rate_dim, STATES, hidden=(7,))
    potential = LSEICNN(invariants.dim + STATES, 2, hidden=(5,))
    return Memory(potential, invariants, rate, stepper=stepper or Euler(), clock=clock, **UNITS)


@pytest.fixture(scope="session")
def plain():
    """States with a rate of any form."""
    return _plain


def _elastic():
    return Elastic(LSEICNN(5, 2, hidden=(5,)), TransverselyIsotropic(), **UNITS)


@pytest.fixture(scope="session")
def elastic():
    """No states at all."""
    return _elastic
