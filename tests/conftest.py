"""Every test in float64, from one seed, with Pyro's parameter store empty."""

import pyro
import pytest
import torch


@pytest.fixture(autouse=True)
def _float64_and_seed():
    torch.set_default_dtype(torch.float64)
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    yield
    torch.set_default_dtype(torch.float32)
