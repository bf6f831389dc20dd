"""Draws of the discrete sites of a model given its continuous ones: Pyro's backward sampling."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from pyro import poutine
from pyro.infer import infer_discrete
from pyro.poutine.messenger import Messenger
from torch import Tensor

from lse_vi.joint.enumeration import is_summed


class Marked(Messenger):
    """Discrete sites with finitely many values are marked for Pyro's parallel enumeration."""

    def _pyro_sample(self, msg: Any) -> None:
        if is_summed(msg):
            msg["infer"] = {**msg["infer"], "enumerate": "parallel"}


def draw_discrete(
    program: Callable[[], Any], values: dict[str, Tensor], sites: Collection[str], depth: int
) -> dict[str, Tensor]:
    """A draw of each discrete site from its law given the values of all other latents.

    Args:
        program: the model with its arguments bound.
        values: of its continuous latents at one draw.
        sites: names of the discrete sites.
        depth: number of dimensions, from the right, that the model itself uses.
    """
    given = poutine.condition(Marked()(program), data=values)
    trace = poutine.trace(infer_discrete(given, first_available_dim=-1 - depth)).get_trace()
    return {name: torch.as_tensor(trace.nodes[name]["value"]) for name in sites}
