"""Turns at what is one for all threads: the lock, and torch's own generators inside a fit."""

import multiprocessing
import threading

import pyro.distributions as dist
import pytest
import torch

from lse_vi.fitting.random_state import seeded
from lse_vi.random.draws import rand
from lse_vi.random.turns import own_draws, taking_turns


def test_code_of_others_draws_from_the_stream_of_the_fit():
    with seeded(7):
        expected = rand(6)
    before = torch.get_rng_state()
    with seeded(7):
        first = rand(2)
        with own_draws():
            second = torch.cat([torch.rand(1), rand(1)])
            with own_draws():
                third = torch.rand(1)
        last = rand(1)
    assert torch.equal(torch.cat([first, second, third, last]), expected)
    assert torch.equal(torch.get_rng_state(), before)


LAWS = {
    "Normal": dist.Normal(0.0, 1.0),
    "Gamma": dist.Gamma(2.0, 1.0),
    "Dirichlet": dist.Dirichlet(torch.ones(3)),
    "Beta": dist.Beta(2.0, 3.0),
    "StudentT": dist.StudentT(3.0),
    "Cauchy": dist.Cauchy(0.0, 1.0),
    "Exponential": dist.Exponential(1.0),
    "Categorical": dist.Categorical(torch.ones(9)),
    "Bernoulli": dist.Bernoulli(torch.full((20,), 0.5)),
    "Binomial": dist.Binomial(100, torch.tensor(0.5)),
    "Poisson": dist.Poisson(50.0),
    "LKJ": dist.LKJCholesky(3, 1.0),
    "Geometric": dist.Geometric(torch.tensor(0.01)),
    "MultivariateNormal": dist.MultivariateNormal(torch.zeros(2), torch.eye(2)),
    "VonMises": dist.VonMises(0.0, 1.0),
    "randn_like": torch.randn_like,
}


@pytest.mark.parametrize("name", LAWS)
def test_laws_of_models_are_drawn_alike_whatever_other_threads_draw(name):
    law, draws = LAWS[name], []
    for other in (0, 1):
        torch.manual_seed(other)
        before = torch.get_rng_state()
        with seeded(7), own_draws():
            if name != "VonMises":  # which draws in compiled code
                torch.default_generator.manual_seed(other)  # another thread's draws
            draws.append(law(torch.zeros(4)) if name == "randn_like" else law.sample())
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*draws)


def test_outside_of_a_fit_it_draws_from_torch():
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    with own_draws():
        assert torch.equal(torch.rand(2), expected)


def test_an_error_inside_gives_everything_back():
    before = torch.get_rng_state()
    try:
        with seeded(7), own_draws():
            torch.rand(3)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), before)
    done = []
    thread = threading.Thread(target=lambda: [done.append(1) for _ in [0] if _enter()])
    thread.start()
    thread.join(10)
    assert done == [1]


def _enter():
    with taking_turns():
        return True


def test_one_thread_at_a_time():
    inside, seen = [], []

    def work():
        for _ in range(50):
            with taking_turns():
                inside.append(1)
                seen.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {1}


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent():
    held, leave = threading.Event(), threading.Event()

    def hold():
        with taking_turns():
            held.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = multiprocessing.get_context("fork").Process(target=_enter)
    child.start()
    child.join(20)
    code = child.exitcode
    child.kill()
    leave.set()
    thread.join()
    assert code == 0
