"""A hidden bar says how long a loop takes, if that is long; one that is shown does so itself."""

import time
import warnings

import pytest
import torch

from lse_vi import LSEICNN, fit_potential
from lse_vi.numerics.bfgs import ascend
from lse_vi.progress import bars
from lse_vi.progress.bars import Bar


@pytest.fixture
def clock(monkeypatch):
    """Time passes when it is told to."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def run(clock, seconds, total=100, **settings):
    """The warnings of a loop whose first step takes a minute, for what it loads."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        items = []
        for i in Bar(range(total), "steps", disable=True, **settings):
            clock(60 if i == 0 else seconds)
            items.append(i)
    assert items == list(range(total))
    return [str(w.message) for w in caught]


def test_long_loops_are_said_once_and_at_the_start(clock):
    assert run(clock, 6.6) == [
        "steps: about 11 minutes more at most, as a step takes 6.6 s; "
        "progress=True shows how it goes on"
    ]


def test_short_loops_are_not_said_whatever_the_first_step_loads(clock):
    assert run(clock, 1.0) == []


def test_quick_steps_are_measured_for_two_seconds(clock):
    assert run(clock, 0.1, total=30_000)[0].startswith("steps: about 50 minutes more")


def test_a_loop_that_goes_on_has_less_left(clock):
    assert run(clock, 6.6, initial=90) == []


def test_updates_are_counted_though_the_bar_is_hidden(clock):
    bar = Bar(total=100, desc="steps", disable=True)
    bar.update(10 - bar.n)
    clock(140.0)
    with pytest.warns(UserWarning, match="steps: about 19 minutes more"):
        bar.update(20 - bar.n)
    assert bar.n == 20


def test_a_bar_that_is_shown_warns_of_nothing(clock, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in Bar(range(5), "steps"):
            clock(1000.0)
    assert "5/5" in capsys.readouterr().err


def test_a_search_for_modes_says_how_long_it_takes(clock):
    def slow(x):
        clock(15.0)
        return -x.square().square().sum(-1), -4 * x**3

    def hessian(x):
        return -12 * x.square().diag_embed()

    with pytest.warns(
        UserWarning, match="search for modes in 3 dimensions: about 300 minutes more"
    ):
        ascend(slow, hessian, torch.rand(5, 3), rounds=8)


def test_a_fit_with_200_modes_says_how_long_it_takes(monkeypatch):
    monkeypatch.setattr(bars, "LONG", 20.0)  # a step takes a second
    monkeypatch.setattr(bars, "MEASURED", 0.1)

    class Enough(Exception):
        pass

    def told(message, *_, **__):
        raise Enough(message)

    monkeypatch.setattr(bars.warnings, "warn", told)
    pot, x = LSEICNN(2, 200, hidden=(10,)), torch.rand(300, 2)
    with pytest.raises(Enough, match=r"200 modes: about \d+ minutes more at most"):
        fit_potential(pot, x, value=x.sum(1), discovery=None, restarts=4, progress=False)
