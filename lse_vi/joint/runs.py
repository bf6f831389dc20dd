"""Runs of a model at many vectors at once: by vmap, in an outermost plate, or one by one."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor
from torch.distributions import biject_to

from lse_vi.joint.effects import Placed, Unplaced, log_det_of, unconstrained_parts
from lse_vi.joint.enumeration import Enumerate, depth_of, is_summed, log_prob_sum, prior_terms
from lse_vi.joint.plates import whole_plates
from lse_vi.joint.refusals import chance, check_mask, check_sites, check_whole
from lse_vi.joint.supports import OnCircles
from lse_vi.joint.torch_modes import Arrays, FailedFactorsAreNaN

# Vectors evaluated at once, at most, and the numbers in the largest array of one evaluation, 8 MB:
# larger ones do not fit in the cache, and take up to four times as long.
CHUNK_VECTORS, CHUNK_NUMBERS = 8192, 2**20
# Numbers in all arrays of the vectors whose gradient is taken in one piece: autograd keeps them,
# 256 MB in double precision.
PIECE_NUMBERS = 2**25
# Tolerance, absolute and relative, of the log joint under vmap: above rounding in single precision,
# below any real difference between the two runs.
VMAP_TOLERANCE = 1e-3
EVALUATIONS = 100_000  # of a fit of some modes, with their gradients, to say how long it will take
PLATE = "_lse_vi_draws"


class Program:
    """A model with its arguments, run at vectors of its latents.

    Args:
        model, args, kwargs: the Pyro model and what it is called with.
        unpack: splits vectors (*lead, dim) into (site, unconstrained value), as ``AutoContinuous``
            does.

    Attributes:
        depth: number of dimensions, from the right, that the model itself uses.
        summed: names of its discrete sites, which are summed out.
        parameters: names of its ``pyro.param``, which stay as they are.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        unpack: Callable[[Tensor], Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.model, self.unpack, self.args, self.kwargs = model, unpack, args, kwargs
        self.depth = 0
        self.summed: tuple[str, ...] = ()
        self.parameters: tuple[str, ...] = ()
        self.names: tuple[str, ...] = ()

    def is_like(self, other: Program) -> bool:
        """Whether ``other`` has the same model and arguments of the same shapes and types."""
        same = self.model == other.model and self.unpack == other.unpack
        mine, others = ((each.args, dict(each.kwargs)) for each in (self, other))
        return same and outline(mine) == outline(others)

    def place(self, z: Tensor) -> Placed:
        """The effect that puts latent sites at vectors ``z``."""
        sites = list(self.unpack(z))
        parts = {site["name"]: value for site, value in sites}
        return Placed(parts, {s["name"]: s["dead"] for s, _ in sites if "dead" in s})

    def look(self, z: Tensor) -> None:
        """Run the model once at ``z`` (dim,), to see its discrete sites and its dimensions.

        Raises:
            ValueError: if it has a latent site that is not in ``z`` and cannot be summed out, or a
                plate that is subsampled.
        """
        for site, _ in self.unpack(z):
            check_whole(site["name"], site)  # a latent in a plate that is made whole would not fit
        trace = self._trace(self.place(z))
        check_sites(trace)
        sites = [site for site, _ in self.unpack(z)]
        for site in sites:
            check_mask(site, trace.nodes[site["name"]])
        self.depth, self.parameters = depth_of(trace), tuple(trace.param_nodes)
        self.names = tuple(site["name"] for site in sites)
        self.summed = tuple(name for name, site in trace.nodes.items() if is_summed(site))

    def at(self, z: Tensor) -> Tensor:
        """l and the log density of the prior, (2,), at one vector ``z`` (dim,)."""
        placed = self.place(z)
        log_p, trace = self._run(placed)
        log_prior = sum(term.sum() for term in prior_terms(trace, placed.values, self.depth))
        log_det = sum(each.sum() for each in placed.log_dets.values())
        return torch.stack(torch.broadcast_tensors(log_p + log_det, log_prior + log_det))

    def log_p(self, placed: Placed) -> Tensor:
        """log p, a scalar, of a run at ``placed``, without Jacobians."""
        return self._run(placed)[0]

    def _run(self, placed: Placed) -> tuple[Tensor, Trace]:
        """log p, a scalar, without Jacobians, and the run at ``placed``."""
        trace = self.trace(placed)
        check_sites(trace)
        return log_prob_sum(trace, self.depth) if self.summed else trace.log_prob_sum(), trace

    def placed(self, z: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Values of the latent sites at one vector ``z`` (dim,), in the supports of a run there.

        With them log |dx/dz| of each site, for each element.
        """
        placed = self.place(z)
        self.trace(placed)
        return placed.values, placed.log_dets

    def unplaced(self, values: Mapping[str, Tensor]) -> Tensor:
        """The vector (dim,) at values of the latent sites."""
        effect = Unplaced(values)
        self.trace(effect)
        return torch.cat([part.reshape(-1) for part in effect.parts.values()])

    def still(self, z: Tensor) -> dict[str, Tensor]:
        """Values of the latent sites at one vector ``z`` (dim,), in the supports of a first run."""
        return {
            site["name"]: biject_to(site["fn"].support)(value) for site, value in self.unpack(z)
        }

    def moves(self, z: Tensor) -> bool:
        """Whether at any of the vectors ``z`` (n, dim) a support is not that of the first run."""
        pairs = [(self.placed(row)[0], self.still(row)) for row in z]
        return any(
            not torch.equal(value, two[name]) for one, two in pairs for name, value in one.items()
        )

    def trace(self, effect: Placed | Unplaced) -> Trace:
        """A run within ``effect``, in which discrete sites take all their values."""
        return self._trace(*[Enumerate(self.depth)] if self.summed else [], effect)

    def at_all(self, z: Tensor) -> Tensor:
        """As :meth:`at`, (n, 2), at ``z`` (n, dim), by one run in an outermost plate."""
        placed, trace = self._in_plate(z)
        log_p = log_prob_sum(trace, self.depth + 1, (PLATE, len(z)))
        terms = prior_terms(trace, placed.values, self.depth + 1)
        log_prior, log_det = (
            z.new_zeros(len(z))
            + sum(x.expand(len(z), *x.shape[1:]).reshape(len(z), -1).sum(1) for x in each)
            for each in (terms, placed.log_dets.values())
        )
        return torch.stack([log_p + log_det, log_prior + log_det], 1)

    def drawn(self, n: int) -> tuple[Tensor, Tensor]:
        """``n`` vectors (n, dim) from the prior, by one run in an outermost plate.

        With them the log density of the prior there, (n,).
        """
        trace = self._trace(self._plate(n))
        parts = dict(unconstrained_parts(trace, self.names))
        terms = prior_terms(trace, parts, self.depth + 1)
        log_prior = torch.stack([x.expand(n, *x.shape[1:]).reshape(n, -1).sum(1) for x in terms])
        log_prior = log_prior.sum(0)
        for name, part in parts.items():
            site = trace.nodes[name]
            log_det = log_det_of(biject_to(site["fn"].support), part, site["value"], None)
            log_prior = log_prior + log_det.reshape(n, -1).sum(1)
        return torch.cat([part.reshape(n, -1) for part in parts.values()], 1), log_prior

    def drawn_alone(self) -> Tensor:
        """A vector (dim,) from the prior, by a run."""
        parts = unconstrained_parts(self._trace(), self.names)
        return torch.cat([part.reshape(-1) for _, part in parts])

    def _in_plate(self, z: Tensor) -> tuple[Placed, Trace]:
        """A run at vectors ``z`` (n, dim) in a plate to the left of all dimensions of the model."""
        placed = self.place(z.reshape(len(z), *[1] * self.depth, -1))
        effects = [Enumerate(self.depth + 1)] if self.summed else []
        return placed, self._trace(*effects, placed, self._plate(len(z)))

    def _plate(self, n: int) -> pyro.plate:
        """The outermost plate of ``n`` draws; handlers around us do not see it, nor its making."""
        with poutine.block(hide_fn=lambda site: site["type"] == "sample"):
            return pyro.plate(PLATE, n, dim=-1 - self.depth)

    def _trace(self, *effects: Any) -> Trace:
        """A run within ``effects``; parameters of the model stay visible, so that SVI can train."""
        with ExitStack() as stack:
            stack.enter_context(whole_plates())
            # By hide_types, Pyro would let observed sites through, which ours are once placed.
            stack.enter_context(poutine.block(hide_fn=lambda site: site["type"] == "sample"))
            tracer = stack.enter_context(poutine.trace())
            for effect in effects:
                stack.enter_context(effect)
            stack.enter_context(OnCircles())
            self.model(*self.args, **self.kwargs)
        return tracer.trace


class Plan:
    """How a :class:`Program` is run at many vectors, found out by trial runs at two of them.

    Args:
        program: the model.
        z: two vectors, (2, dim).

    Attributes:
        how: ``"vmap"``, ``"plate"`` or ``"loop"``.
        chunk: number of vectors at once.
        piece: number of vectors whose gradient is taken at once.
        moving: whether the support of a site depends on other sites, or on arguments that have
            changed since the first run.

    Raises:
        ValueError: as :meth:`Program.look`, and for a log joint that differs between two runs at
            one vector.
    """

    def __init__(self, program: Program, z: Tensor) -> None:
        self.program = program
        devices = [z.device] if z.is_cuda else []
        with torch.random.fork_rng(devices):  # trial runs may draw, which no fit should notice
            program.look(z[0])
            with Arrays() as arrays:
                alone = [program.at(z[0])]
            started = time.perf_counter()
            alone += [program.at(z[0]), program.at(z[1])]
            self.seconds = (time.perf_counter() - started) / 2
            if not _alike(alone[0], alone[1], torch.finfo(z.dtype).eps ** 0.5):
                one, two = float(alone[0][0]), float(alone[1][0])
                raise chance(lambda: program.trace(program.place(z[0])), (one, two))
            self.chunk = min(max(1, CHUNK_NUMBERS // arrays.largest), CHUNK_VECTORS)
            self.piece = max(1, PIECE_NUMBERS // arrays.total)
            self.how = self._choose(z, torch.stack(alone[1:]))
            self.moving = program.moves(z)

    def again(self, program: Program, z: Tensor) -> Plan:
        """This plan for another program that is like its own, after a look at ``z`` (dim,)."""
        with torch.random.fork_rng([z.device] if z.is_cuda else []), FailedFactorsAreNaN():
            program.look(z)
        other = copy.copy(self)
        other.program = program
        return other

    def _choose(self, z: Tensor, alone: Tensor) -> str:
        """The fastest way that gives what single runs give, ``alone`` (2, 2)."""
        why = _difference(lambda: torch.vmap(self.program.at)(z), alone)
        if why is None:
            return "vmap"
        if _difference(lambda: self.program.at_all(z), alone) is None:
            return "plate"
        warnings.warn(
            f"the model {why[0]} under torch.vmap, nor does it run in an outermost plate, so it "
            f"runs once per draw, about {EVALUATIONS * self.seconds:.2g} s for the "
            f"{EVALUATIONS:,} evaluations of a fit: {why[1]}",
            stacklevel=2,
        )
        return "loop"

    def __call__(self, z: Tensor) -> Tensor:
        """l and the log density of the prior, (n, 2), at ``z`` (n, dim)."""
        if self.how == "vmap":
            return torch.vmap(self.program.at, chunk_size=self.chunk)(z)
        if self.how == "plate":
            return torch.cat([self.program.at_all(part) for part in z.split(self.chunk)])
        return torch.stack([self.program.at(row) for row in z])

    def placed(self, z: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Values of the latent sites (n, *shape) at ``z`` (n, dim), and log |dx/dz| of each."""
        if self.how == "vmap":
            return torch.vmap(self.program.placed, chunk_size=self.chunk)(z)
        rows = [self.program.placed(row) for row in z]
        values, log_dets = (_stacked([row[i] for row in rows]) for i in range(2))
        return values, log_dets

    def unplaced(self, values: Mapping[str, Tensor]) -> Tensor:
        """The vectors (n, dim) at values (n, *shape) of the latent sites."""
        if self.how == "vmap":
            return torch.vmap(self.program.unplaced, chunk_size=self.chunk)(dict(values))
        n = len(next(iter(values.values())))
        return torch.stack(
            [self.program.unplaced({name: x[i] for name, x in values.items()}) for i in range(n)]
        )


def outline(value: Any) -> Any:
    """What trial runs of a model depend on in its arguments: of tensors all but their numbers."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.device
    if isinstance(value, Mapping):
        return {key: outline(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [outline(each) for each in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else id(value)


def _stacked(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The rows of each entry in one tensor."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def _difference(run: Callable[[], Tensor], alone: Tensor) -> tuple[str, str] | None:
    """How and why ``run`` fails to give ``alone``, in words; None if it does."""
    try:
        mapped = run()
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return "cannot run", str(error).splitlines()[0]
    close = torch.isclose(alone, mapped, rtol=VMAP_TOLERANCE, atol=VMAP_TOLERANCE, equal_nan=True)
    if bool(close.all()):
        return None
    at = int((~close).any(1).long().argmax())
    there, by_itself = float(mapped[at, 0]), float(alone[at, 0])
    return (
        "comes out differently",
        f"its log joint is {there:.6g} there, but {by_itself:.6g} by itself",
    )


def _alike(one: Tensor, two: Tensor, tolerance: float) -> bool:
    """Whether two values of the log joint are the same but for rounding."""
    return bool(torch.isclose(one, two, rtol=tolerance, atol=tolerance, equal_nan=True).all())
