"""The random state of a fit, on the CPU and on a GPU, which stands in here."""

from contextlib import nullcontext

import pytest
import torch

from lse_vi.fitting.random_state import random_state, reseed, seeded, set_random_state

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch):
    """The generator of a GPU: only its state, and what it was seeded with."""
    held = {"state": torch.zeros(4, dtype=torch.uint8), "seeds": []}
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(cuda, "manual_seed", held["seeds"].append)
    monkeypatch.setattr(cuda, "get_rng_state", lambda device: held["state"].clone())
    monkeypatch.setattr(cuda, "set_rng_state", lambda state, device: held.update(state=state))
    return held


def test_the_same_numbers_as_by_torch():
    before = torch.get_rng_state()
    with seeded(3, CPU):
        x = torch.rand(5)
        torch.manual_seed(3)
        assert torch.equal(torch.rand(5), x)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_seed_leaves_the_state_to_go_on():
    torch.manual_seed(3)
    x = torch.rand(2)
    torch.manual_seed(3)
    with seeded(None):
        assert torch.equal(torch.rand(1), x[:1])
    assert torch.equal(torch.rand(1), x[1:])


def test_numbers_go_on_from_a_state():
    states = random_state(CPU)
    x = torch.rand(5)
    set_random_state(states, CPU)
    assert torch.equal(torch.rand(5), x)


def test_a_fit_on_the_cpu_leaves_gpus_alone(gpu):
    with seeded(3, CPU):
        set_random_state(random_state(CPU), CPU)
    assert gpu["seeds"] == []


def test_the_state_of_the_gpu_of_a_fit_is_kept(gpu):
    reseed(3, GPU)
    assert gpu["seeds"] == [3]
    states = random_state(GPU)
    gpu["state"] = torch.ones(4, dtype=torch.uint8)
    set_random_state(states[:1], GPU)  # of a fit on the CPU
    assert bool(gpu["state"].all())
    set_random_state(states, GPU)
    assert not bool(gpu["state"].any())
