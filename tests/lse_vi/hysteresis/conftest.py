"""A wire that turns at 400 MPa and back at 200 MPa, and one fit of its tests for all."""

import pytest

from data_gen.superelastic import Transformation, Wire
from lse_vi import fit_memory
from lse_vi.hysteresis.data import Data
from lse_vi.hysteresis.records import read_tests

NAMES = {"strain": "strain", "stress": "stress", "times": "time"}
WIRE = Wire((Transformation(hardening=200.0),))


def laid_out(tests):
    return Data.of(read_tests(tests, **NAMES))


@pytest.fixture(scope="session")
def noisy():
    return WIRE.tests(3, seed=1)


@pytest.fixture(scope="session")
def fitted(noisy):
    return fit_memory(noisy, progress=False)
