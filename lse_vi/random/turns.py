"""Turns between threads at what Pyro and torch keep for the whole process.

Pyro's handlers, its parameter store, its and torch's validation, the filters of warnings and
torch's own random generators are one for all threads. Code that touches them runs under one lock.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lse_vi.random.draws import CURRENT, generator, rand_like, randn_like

# Functions of torch that draw and can be told a generator; of the second kind, from N(0, 1) or
# [0, 1) in the shape of a tensor, torch does not let them be told.
DRAWING = {
    "rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson",
    "binomial", "_standard_gamma", "_sample_dirichlet", "normal_", "uniform_", "exponential_",
    "cauchy_", "log_normal_", "geometric_", "random_", "bernoulli_",
}  # fmt: skip
LIKE = {"rand_like": rand_like, "randn_like": randn_like}


class _Turns:
    """The lock. A forked child gets a new one: the thread that holds the old one is not there."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        """A lock that nobody holds."""
        self.lock = threading.RLock()


_TURNS = _Turns()


@contextmanager
def taking_turns() -> Iterator[None]:
    """Within, no other thread is in such a block: for fits that run Pyro models."""
    with _TURNS.lock:
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Turns taken, and no handler of Pyro's from outside is at work: for whole fits.

    So a fit inside another model, or inside a plate, is as it is outside, and the trace of that
    model knows nothing of the sites of the fit.
    """
    with taking_turns():
        lists = (_PYRO_STACK, _DIM_ALLOCATOR._stack)  # handlers, and dimensions that plates take
        outside = [list(one) for one in lists]
        for one in lists:
            one.clear()
        try:
            yield
        finally:
            for one, before in zip(lists, outside, strict=True):
                one[:] = before


@contextmanager
def own_parameters() -> Iterator[None]:
    """Within, Pyro's parameter store is an empty one; the user's comes back as it was.

    ``scope()`` of the store does not do: it takes marks off the user's parameters which a step of
    ``SVI`` around a fit still needs.
    """
    store, names = pyro.get_param_store(), ("_params", "_param_to_name", "_constraints")
    before = {name: getattr(store, name) for name in names}
    try:
        for name in names:
            setattr(store, name, {})
        yield
    finally:
        for name, own in before.items():
            setattr(store, name, own)


@contextmanager
def own_draws() -> Iterator[None]:
    """Within, code that is not ours draws from the generators of the fit, and no other fit runs.

    Use it around a user's model that draws. The few draws that cannot be told a generator (in code
    that torch compiled, such as that of ``VonMises``) come from torch's own, seeded by the state of
    the fit's, and restored afterwards: for these alone it matters if other threads draw.

    Example:
        >>> from lse_vi.fitting.random_state import seeded
        >>> with seeded(1), own_draws():
        ...     x = torch.rand(2)
        >>> with seeded(1):
        ...     torch.equal(torch.rand(2, generator=generator()), x)
        True
    """
    with _TURNS.lock:
        if CURRENT.get() is None:
            yield
            return
        theirs = _of_torch()
        before = [one.get_state() for one in theirs]
        for one in theirs:
            one.manual_seed(_seed_after(generator(one.device)))
        try:
            with _ToldTheGenerator():
                yield
        finally:
            for one, state in zip(theirs, before, strict=True):
                one.set_state(state)


class _ToldTheGenerator(TorchFunctionMode):
    """Tells the functions of torch that draw the generator of the fit; in this thread only."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(function, "__name__", "")
        if name in LIKE:
            memory = torch.empty_like(*args, **kwargs)
            return LIKE[name](memory)
        if name in DRAWING and kwargs.get("generator") is None:
            tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
            given = kwargs.get("device")
            device = tensors[0].device if tensors else given or torch.get_default_device()
            kwargs["generator"] = generator(device)
        return function(*args, **kwargs)


def _seed_after(own: torch.Generator | None) -> int:
    """A seed that the state of the fit's generator decides, which stays as it is."""
    assert own is not None  # inside a fit
    return int.from_bytes(hashlib.sha256(own.get_state().numpy().tobytes()).digest()[:7], "big")


def _of_torch() -> list[torch.Generator]:
    """Torch's own generators: that of the CPU, and those of the GPUs that were used so far."""
    gpus = torch.cuda.default_generators if torch.cuda.is_initialized() else ()
    return [torch.default_generator, *gpus]
