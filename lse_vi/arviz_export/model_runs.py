"""Runs of a Pyro program with given draws: one after the other, or all at once in a plate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from torch import Size, Tensor

Program = Callable[[], Any]  # a model or a guide with its arguments bound
Draws = dict[str, Tensor]  # values by site


def run(
    program: Program, read: Callable[[Trace], Draws], draws: Draws, n: int, parallel: bool
) -> Draws:
    """Run ``program`` with each of ``n`` draws, and collect what ``read`` takes from each run.

    Args:
        program: without arguments.
        read: takes values (*shape) by name from the trace of a run.
        draws: values of the latent sites, (n, *shape); a site without a value is drawn.
        n: number of runs.
        parallel: run once, with all draws in an outermost plate.

    Returns:
        What ``read`` takes, by name, (n, *shape).
    """
    if not parallel:
        rows = [read(trace_given(program, draw_at(draws, i))) for i in range(n)]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    one = trace_given(program, draw_at(draws, 0))
    nesting = max(plate_depth(site.get("cond_indep_stack", ())) for site in one.nodes.values())
    wide = {}
    for name, value in draws.items():
        batch = value.dim() - 1 - one.nodes[name]["fn"].event_dim
        wide[name] = value.reshape(n, *(1,) * (nesting - batch), *value.shape[1:])
    with pyro.plate("_draws", n, dim=-nesting - 1):
        many = read(trace_given(program, wide))
    return {name: _narrow(name, many[name], n, value.shape) for name, value in read(one).items()}


def _narrow(name: str, value: Tensor, n: int, shape: Size) -> Tensor:
    """``value`` as (n, *shape).

    It comes as (n, 1, ..., *shape), or as (*shape) where it does not depend on the draws.
    """
    split = value.dim() - len(shape)
    if value.shape[split:] != shape or value.shape[:split].numel() not in (1, n):
        raise ValueError(
            f"parallel: site {name!r} comes with shape {tuple(value.shape)} for {n} draws of shape "
            f"{tuple(shape)}, so the program is not vectorised; pass parallel=False"
        )
    return value.reshape(-1, *shape).expand(n, *shape)


def trace_given(program: Program, values: Draws) -> Trace:
    """The trace of a run of ``program``; latent sites named in ``values`` take these values."""
    given = Trace()
    for name, value in values.items():
        given.add_node(name, name=name, type="sample", value=value, is_observed=False, infer={})
    return poutine.trace(poutine.replay(program, trace=given)).get_trace()


def draw_at(draws: Draws, i: int) -> Draws:
    """Draw ``i`` of ``draws`` (n, *shape), as (*shape)."""
    return {name: value[i] for name, value in draws.items()}


class Unobserve(UnconditionMessenger):
    """Draw ``sites`` instead of observing them; ``poutine.uncondition`` would draw all sites."""

    def __init__(self, sites: Collection[str]) -> None:
        super().__init__()
        self.sites = sites

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.sites:
            super()._pyro_sample(msg)


def plate_depth(frames: Sequence[Any]) -> int:
    """The number of batch dimensions that the plates around a site occupy."""
    return max((-frame.dim for frame in frames if frame.vectorized), default=0)
