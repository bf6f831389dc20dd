"""Every test in float64, on one thread, from one seed, with Pyro's parameter store empty."""

import pyro
import pytest
import torch
from hypothesis import settings

# The same examples in every run: a rare one that fails should be met by who changes the code, not
# by who runs the tests next. To look for others: --hypothesis-profile=default.
settings.register_profile("seeded", derandomize=True)
settings.load_profile("seeded")


@pytest.fixture(autouse=True)
def _float64_and_seed():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # small tensors: a second thread costs more than it brings
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    yield
    torch.set_default_dtype(torch.float32)
