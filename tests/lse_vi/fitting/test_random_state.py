"""The random generators of a fit: apart from torch's, on the CPU and on a GPU."""

import pytest
import torch

from lse_vi.fitting.random_state import random_state, reseed, seeded, set_random_state
from lse_vi.random.draws import generator, rand

CPU = torch.device("cpu")


def test_the_same_numbers_as_by_torch():
    before = torch.get_rng_state()
    with seeded(3):
        x = rand(5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(5), x)


def test_no_seed_leaves_the_state_to_go_on():
    torch.manual_seed(3)
    x = torch.rand(2)
    torch.manual_seed(3)
    with seeded(None):
        assert torch.equal(rand(1), x[:1])
    assert torch.equal(torch.rand(1), x[1:])


@pytest.mark.parametrize("seed", [None, 3])
def test_numbers_go_on_from_a_state(seed):
    with seeded(seed):
        states = random_state(CPU)
        x = rand(5)
        set_random_state(states, CPU)
        assert torch.equal(rand(5), x)


def test_a_seed_begins_anew():
    with seeded(3):
        x = rand(5)
        reseed(3)
        assert torch.equal(rand(5), x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_state_of_the_gpu_of_a_fit_is_kept():
    gpu = torch.device("cuda", 0)
    before = torch.cuda.get_rng_state(gpu)
    with seeded(3):
        states = random_state(gpu)
        x = torch.rand(5, device=gpu, generator=generator(gpu))
        set_random_state(states[:1], gpu)  # of a fit on the CPU
        assert not torch.equal(torch.rand(5, device=gpu, generator=generator(gpu)), x)
        set_random_state(states, gpu)
        assert torch.equal(torch.rand(5, device=gpu, generator=generator(gpu)), x)
    assert torch.equal(torch.cuda.get_rng_state(gpu), before)
