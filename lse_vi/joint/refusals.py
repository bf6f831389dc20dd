"""What a model must not do, each refused with the name of the site and what to do."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyro
import torch
from pyro import primitives
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lse_vi.joint.enumeration import is_summed
from lse_vi.random.turns import DRAWING, LIKE

# Folders of the libraries between a user's model and a random draw.
OURS = tuple(str(Path(str(file)).parents[0]) for file in (torch.__file__, pyro.__file__, __file__))


def check_whole(name: str, site: Any) -> None:
    """No plate around a site may be subsampled: l would change with every evaluation."""
    for frame in site["cond_indep_stack"]:
        if frame.full_size is not None and frame.size < frame.full_size:
            raise ValueError(
                f"model: plate {frame.name!r} around site {name!r} is subsampled, {frame.size} of "
                f"{frame.full_size}; the posterior needs all data at once. A plate with "
                "subsample_size is made whole where no latent is in it; else run it without "
                "subsampling: only SVI with Trace_ELBO can train a guide on subsamples"
            )


def check_sites(trace: Trace) -> None:
    """No plate may be subsampled, and every latent site is in the vector or summed out."""
    for name, site in trace.nodes.items():
        if site["type"] != "sample":
            continue
        check_whole(name, site)
        if not site["is_observed"] and not site_is_subsample(site) and not is_summed(site):
            raise ValueError(
                f"model: site {name!r} is latent, but the guide does not cover it; a guide for a "
                "part of a model can only be trained by SVI with Trace_ELBO"
            )


def check_parameters(names: Collection[str]) -> None:
    """A fit of the posterior has nothing to train parameters of the model with."""
    if names:
        shown = ", ".join(repr(name) for name in names)
        raise ValueError(
            f"model: it has parameters ({shown}), which a fit of the posterior would leave as they "
            "are. Give each a prior by pyro.sample; or train them by SVI with lse_vi.EnergyELBO, "
            "and fit a guide for poutine.block(model, hide_types=['param']), where they are "
            "constants"
        )


def masks_of(site: Any) -> list[Tensor]:
    """The masks of a site, by handlers and by its distribution."""
    masks, fn = [site["mask"]], site["fn"]
    while fn is not None:
        masks.append(getattr(fn, "_mask", None))
        fn = getattr(fn, "base_dist", None)
    return [torch.as_tensor(mask) for mask in masks if mask is not None]


def check_mask(first: Any, now: Any) -> None:
    """The entries of a latent site that are no latents, as they are masked, must stay the same."""
    if "dead" not in first:
        return
    one, two = masks_of(first), masks_of(now)
    if len(one) != len(two) or not all(map(torch.equal, one, two)):
        raise ValueError(
            f"model: the mask of site {first['name']!r} is not the one that the guide was made "
            "for: other entries are missing now, so make a new guide"
        )


def check_continuous(name: str, site: Any) -> None:
    """A latent site that is not summed out must be continuous."""
    support = site["fn"].support
    if getattr(support, "is_discrete", False):
        kind = type(site["fn"]).__name__
        raise ValueError(
            f"model: site {name!r} is discrete ({kind}) and its values cannot be listed, so it "
            "cannot be summed out; marginalise it by hand (as GammaPoisson does for a Poisson with "
            "a Gamma rate), cut its range to a Categorical, or put a batch of discrete variables "
            "in a pyro.plate in place of to_event"
        )


def chance(run: Callable[[], Trace], values: tuple[float, float]) -> ValueError:
    """What to say of a model whose log joint differs between two runs at one point.

    Args:
        run: one run of the model.
        values: of the log joint in two runs.
    """
    met, draws = _Applied(), _Draws()
    with patch.object(primitives, "apply_stack", met), draws:
        trace = run()
    hidden = sorted(met.names - set(trace.nodes))
    lines = sorted(draws.places)
    if hidden:
        names = ", ".join(repr(name) for name in hidden)
        cause = (
            f"site {names} is hidden by poutine.block, and drawn anew in each run. Leave it "
            "visible: discrete sites are summed out, others are part of the guide"
        )
    elif lines:
        cause = (
            f"it draws random numbers outside of pyro.sample ({'; '.join(lines)}). Make them a "
            "sample site, or draw them once and pass them as an argument"
        )
    else:
        cause = (
            "it changes from run to run without a random draw of torch; look for other random "
            "numbers, counters, and arguments that the model changes"
        )
    return ValueError(
        f"model: its log joint is {values[0]:.6g} in one run and {values[1]:.6g} in the next, with "
        f"the same values of all latents: {cause}"
    )


class _Applied:
    """In place of Pyro's ``apply_stack``: also notes the latent sites that it is asked for."""

    def __init__(self) -> None:
        self.apply, self.names = primitives.apply_stack, set[str]()

    def __call__(self, msg: Any) -> None:
        if msg["type"] == "sample" and not msg["is_observed"] and not site_is_subsample(msg):
            self.names.add(msg["name"])
        self.apply(msg)


class _Draws(TorchFunctionMode):
    """Notes the lines of the user's code that draw random numbers by torch."""

    def __init__(self) -> None:
        super().__init__()
        self.places = set[str]()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        if name in DRAWING or name in LIKE:
            stack = [f for f in traceback.extract_stack() if not _is_ours(f.filename, OURS)]
            if stack:
                self.places.add(f"{Path(stack[-1].filename).name}, line {stack[-1].lineno}")
        return function(*args, **(kwargs or {}))


def _is_ours(path: str, folders: Collection[str]) -> bool:
    """Whether a file belongs to a library below ``folders``."""
    return any(path.startswith(folder) for folder in folders)
