"""Every test in float64, on one thread, from one seed, with Pyro's parameter store empty."""

import pyro
import pytest
import torch


@pytest.fixture(autouse=True)
def _float64_and_seed():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # small tensors: a second thread costs more than it brings
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    yield
    torch.set_default_dtype(torch.float32)
