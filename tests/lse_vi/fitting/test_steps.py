"""Work in steps: after an interruption at any place it ends as it would have."""

import pytest
import torch

from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.random_state import seeded
from lse_vi.fitting.steps import Steps
from lse_vi.random.draws import rand


class Stop(Exception):
    pass


def work(path, stop=None, calls=None):
    """Two parts with two steps each, of which the second one leaves notes; all draw."""
    calls = [] if calls is None else calls

    def draw(label):
        if len(calls) == stop:
            raise Stop
        calls.append(label)
        return rand(2)

    def long(steps, label):
        total = draw(label)  # done again, but what follows must not notice
        first = 0
        if known := steps.noted():
            total, first = known["total"], known["round"]
        for i in range(first, 3):
            total = total + draw(label)
            steps.note({"total": total, "round": i + 1})
        return total

    steps, found = Steps(Checkpoint(path, lambda: {"a": 1})), []
    for part in ("one", "two"):
        with steps.within(part), seeded(3):
            found.append(steps.take("short", lambda: draw("short")))
            found.append(steps.take("long", lambda: long(steps, "long")))
            found.append(rand(1))
    return torch.cat(found)


def test_interrupted_anywhere_it_ends_as_it_would_have(tmp_path):
    calls = []
    expected = work(None, calls=calls)
    for stop in range(len(calls)):
        path = tmp_path / f"{stop}.pt"
        with pytest.raises(Stop):
            work(path, stop)
        assert torch.equal(work(path), expected)
        again = []
        assert torch.equal(work(path, calls=again), expected)
        assert again == []


def test_what_was_done_is_not_done_again(tmp_path):
    path, calls = tmp_path / "fit.pt", []
    with pytest.raises(Stop):
        work(path, stop=8)  # in the second part, after its short step
    work(path, calls=calls)
    assert calls == ["long"] * 3


def test_steps_of_a_step_are_forgotten_when_it_is_done(tmp_path):
    steps = Steps(Checkpoint(tmp_path / "fit.pt", dict))
    outer = steps.take("outer", lambda: 1 + steps.take("inner", lambda: 1))
    assert (outer, "outer" in steps) == (2, True)
    with steps.within("outer"):
        assert "inner" not in steps
    again = Steps(Checkpoint(tmp_path / "fit.pt", dict))
    assert again.take("outer", lambda: pytest.fail("done before")) == 2


def test_the_random_state_of_torch_is_left_alone(tmp_path):
    for _ in range(2):
        before = torch.get_rng_state()
        Steps(Checkpoint(tmp_path / "fit.pt", dict)).take("one", lambda: 1)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
