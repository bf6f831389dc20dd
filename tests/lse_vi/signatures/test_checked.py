"""Arguments are of the kind that annotations say: found, converted and refused."""

import copy
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pytest
import torch
from torch import Tensor

from lse_vi.signatures import checked


class Walker(Protocol):
    def walk(self) -> None: ...


class Dog:
    def walk(self) -> None: ...


@checked
def take(
    x: Tensor,
    n: int = 1,
    *,
    level: float = 0.5,
    seed: int = 0,
    flag: bool = False,
    word: str | None = None,
    widths: Sequence[int] = (),
    table: Mapping[str, Any] | None = None,
    step: Callable[[float], float] = abs,
    walker: Walker | None = None,
    one: Dog | int = 3,
    free: Any = None,
    device: torch.device | str | None = None,
):
    """What came."""
    return {**locals()}


X = torch.zeros(2)


def test_numbers_of_other_libraries_arrive_as_those_of_python():
    got = take(X, np.int64(3), level=torch.tensor(0.5), seed=np.uint8(7), flag=np.True_)
    assert [type(got[k]) for k in ("n", "level", "seed", "flag")] == [int, float, int, bool]
    assert type(take(X, level=2)["level"]) is float


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": [1.0]}, "x must be a tensor, but got list; torch.as_tensor"),
        ({"n": True}, "n must be an integer, but got True"),
        ({"n": 1.0}, r"n must be an integer, but got 1\.0"),
        ({"level": "0.5"}, "level must be a number, but got '0.5'"),
        ({"level": True}, "level must be a number, but got True"),
        ({"level": np.zeros(2)}, "level must be a number, but got ndarray"),
        ({"flag": 1}, "flag must be True or False, but got 1"),
        ({"word": b"a"}, "word must be a string, but got bytes"),
        ({"widths": 3}, "widths must be a sequence of integers, but got 3"),
        ({"widths": "ab"}, "widths must be a sequence of integers, but got 'ab'"),
        ({"table": [1]}, r"table must be a mapping, but got \[1\]"),
        ({"step": 2}, "step must be a function, or .*, but got 2"),
        ({"step": torch.nn.Linear}, "step must be a function, or .*, but got <class"),
        ({"walker": Dog}, "walker must be an object with walk, but got <class"),
        ({"walker": 4}, "walker must be an object with walk, but got 4"),
        ({"one": 2.5}, r"one must be of type Dog or an integer, but got 2\.5"),
        ({"device": 2.5}, r"device must be a torch.device, but got 2\.5"),
        ({"random_state": 1}, "take has no argument random_state; here it is called seed"),
        ({"bogus": 1}, "unexpected keyword argument 'bogus'"),
    ],
    ids=str,
)
def test_other_kinds_are_refused_by_name(given, message):
    with pytest.raises(TypeError, match=message):
        take(**{"x": X, **given})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": -1}, "seed must be at least 0, but got -1"),
        ({"seed": 2**63}, "seed must be below 2\\^63"),
        ({"device": "moon"}, "device must be a device of this machine, but got 'moon'"),
    ],
)
def test_other_values_are_refused_by_name(given, message):
    with pytest.raises(ValueError, match=message):
        take(X, **given)


def test_what_is_right_passes():
    own = {"word": "a", "widths": (1, 2), "table": {}, "walker": Dog(), "free": object()}
    got = take(X, 2, **own, one=Dog(), device="cpu")
    assert {name: got[name] for name in own} == own
    assert take(X, widths=np.array([1, 2]))["widths"] == (1, 2)
    assert got["device"] == torch.device("cpu")
    assert all(take(X, **{name: None})[name] is None for name in ("word", "table", "walker"))


def test_it_is_still_the_function():
    assert take.__doc__ == "What came."
    assert take.__globals__ is globals()  # where doctest looks
    assert pickle.loads(pickle.dumps(Dog())).walk() is None
    assert copy.deepcopy(take) is take


def test_arguments_of_a_model_go_their_way():
    @checked
    def run(model: Callable[..., Any], *args: Any, draws: int = 3, **kwargs: Any) -> Any:
        return args, draws, kwargs

    assert run(abs, 1, 2, num_samples=4) == ((1, 2), 3, {"num_samples": 4})
