"""Two groups of points, and a posterior of their density that several tests look at."""

import pytest
import torch

from lse_vi import fit_posterior


def _two_groups(n=120, apart=3.0):
    return torch.cat([torch.randn(n // 3) - apart, torch.randn(n - n // 3) + apart])


@pytest.fixture(scope="session")
def two_groups():
    """A third of the points around minus ``apart``, the others around ``apart``."""
    return _two_groups


@pytest.fixture(scope="session")
def fit():
    torch.set_default_dtype(torch.float64)  # a fixture of the session starts before that of tests
    torch.manual_seed(3)
    return fit_posterior(_two_groups(), modes=2, draws=400, progress=False)
