"""Fits of a density to data: one visible loop, every restart and every data set in one batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lse_vi.checks import (
    check_count,
    check_counts,
    check_enough,
    check_fraction,
    check_number,
    check_object,
    check_positive,
)
from lse_vi.densities.data_source import Points
from lse_vi.densities.merging import merge_closest
from lse_vi.densities.polish import polish as polish_candidate
from lse_vi.densities.result import FitResult, result_of
from lse_vi.densities.starts import start_on_mixture
from lse_vi.densities.training import Recipe, train
from lse_vi.densities.training_data import FitData
from lse_vi.distribution.box import Box
from lse_vi.distribution.density import METHODS, LSEDensity
from lse_vi.distribution.importance import MomentMixture
from lse_vi.distribution.quadrature import Quadrature
from lse_vi.distribution.rule import Method, Rule
from lse_vi.fitting.best_state import snapshot
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.mode_search import Candidate, ModeSearch
from lse_vi.fitting.random_state import fork_random_state, reseed
from lse_vi.fitting.starts import start_on_clusters
from lse_vi.network.icnn import ICNN, WhitenedICNN, check_network, whitened
from lse_vi.network.potential import LSEICNN

RULE_FIXED, RULE_MOVING = 50, 25  # steps between rules: on a box, and where nodes follow modes
DRAWS, PARTS = 2048, 8  # of a rule beyond a plane: each step of Adam takes a part in turn
TRIAL = 100  # steps of L-BFGS by which numbers of modes are compared; the best has the others too
WHOLE, BATCH = 2**16, 2**14  # more points than the first are fitted the second at a time


def fit_density(
    x: Any,
    *,
    modes: int = 5,
    bounds: Any = None,
    hidden: Sequence[int] = (10, 10),
    network: type[ICNN | WhitenedICNN] = WhitenedICNN,
    learn_rho: bool | None = None,
    mode_penalty: float | None = None,
    held_out: float = 0.1,
    restarts: int = 4,
    steps: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    polish: int = 300,
    method: Method | None = None,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> FitResult:
    r"""Fit an LSE-ICNN density to data by penalised maximum likelihood, counting the modes.

    For K = 1, 2, ... the fit maximises, over the data and a weakly informative prior,

    .. math:: \sum_i \log q(x_i; \theta) + \log p(\theta) - \lambda K,

    and keeps the best K, or more modes where the points held out are better explained by 2.5
    standard errors; it stops when three more modes have not helped. From the best K it goes back
    down: two modes that share points become one, as long as that costs less than a mode. The
    penalty per mode makes spare modes die: gates cannot, since s_k and f_k trade off against each
    other.

    Under ``torchrun``, once ``torch.distributed`` is initialised, the processes share the points of
    each step; all must be called alike, and each ends with the same fit.

    Args:
        x: data (n, dim) or (n,), a tensor, an array, or a memory map, which is never read as a
            whole; or (n, *batch, dim) for a batch of data sets fitted at once. Counts that take
            only a few values are better spread over their cells first, ``x + rand - 1/2``: each
            value that many points share is a mode of its own.
        modes: the largest number of modes to try.
        bounds: (low, high) of the support, each a number or ``dim`` numbers; None for R^d.
        hidden: widths of the hidden layers of each mode; () makes a Gaussian mixture.
        network: strongly convex modes by default; ``ICNN`` for the paper's plain ones.
        learn_rho: learn the sharpness rho, which shapes the passes between the modes. By default
            on a box in 1-2 dimensions; elsewhere rho stays 1, a mixture of log-concave densities.
        mode_penalty: lambda, in nats per mode; by default log(n)/2 for each of the
            1 + 2 dim + dim (dim + 1)/2 parameters of a mode (BIC): mass, mean, covariance, and a
            shape parameter per axis.
        held_out: share of the data on which the fit is stopped early; 0 to use all of it.
        restarts: random starts for each K. With ``learn_rho`` or plain modes all are fitted, in one
            batch; else by a Gaussian mixture each, and the best of those becomes the modes.
        steps: Adam steps for each K, under a one-cycle schedule; 50 from a Gaussian mixture (500
            where none of L-BFGS follow), else 600.
        learning_rate: its peak; 0.1 from a Gaussian mixture, else 0.03.
        batch_size: points of a step, drawn at random; by default all points up to 65,536, and of
            more 16,384 at a time, so that memory does not grow with n.
        polish: steps of L-BFGS that follow for the best restart, where all points fit in a step:
            the first 100 for every K that may win by them, and for K - 1 where the two modes that
            share the most points are made one; the others for the winner. They go in coordinates
            that know the curvature, and find steep walls for which Adam takes thousands. 0 for
            none.
        method: how log Z is found during the fit, as in :class:`LSEDensity`.
        seed: for the starts and the held-out share; the global random state is left alone.
        progress: show a bar with the loss.
        checkpoint: a file to write every 50 steps; an interrupted fit called again with the same
            arguments goes on from it and ends where an uninterrupted one does.

    Raises:
        TypeError: for a network or a method that is none, and counts that are no integers.
        ValueError: for data that are empty, not finite, constant, too few or outside ``bounds``.
        NonFiniteLossError: when the loss stops being finite, with the last good state.

    Example:
        >>> x = torch.cat([torch.randn(100) - 4, torch.randn(100) + 4])
        >>> res = fit_density(x, modes=3, steps=150, restarts=1, progress=False)
        >>> int(res.active_modes)
        2
    """
    check_count("restarts", restarts)
    check_count("seed", seed, minimum=0)
    hidden = check_counts("hidden", hidden)
    check_network(network)
    if method is not None:
        check_object("method", method, "rule", METHODS)
    points = Points.of("x", x)
    n, batch, dim = len(points), points.shape[1:-1], points.shape[-1]
    n_test = round(check_fraction("held_out", held_out) * n)
    check_enough("x", n - n_test, dim)
    if check_count("modes", modes) > n - n_test:
        raise ValueError(
            f"modes must be at most the {n - n_test} points that are fitted, but got {modes}"
        )
    shift, scale = points.moments  # one for the whole batch
    box = None if bounds is None else Box.of(bounds, dim, shift)
    _check_inside(points, box)
    if learn_rho is None:
        learn_rho = box is not None and dim <= 2
    if mode_penalty is None:
        mode_penalty = 0.5 * math.log(n) * (1 + 2 * dim + dim * (dim + 1) / 2)
    if not check_number("mode_penalty", mode_penalty) >= 0:
        raise ValueError(f"mode_penalty must be at least 0, but got {mode_penalty}")
    if batch_size is None:
        batch_size = n if n <= WHOLE else BATCH
    check_count("batch_size", batch_size)
    mixture = not learn_rho and issubclass(network, WhitenedICNN)
    polish = check_count("polish", polish, minimum=0) if batch_size >= n - n_test else 0
    if steps is None:
        steps = 600 if not mixture else 50 if polish else 500
    unit_box = None if box is None else Box((box.low - shift) / scale, (box.high - shift) / scale)
    rule_method = method or _fit_method(dim, box)
    recipe = Recipe(
        lambda pot: rule_method.rule(pot, unit_box and unit_box.to(pot.alpha.dtype)),
        RULE_MOVING if box is None else RULE_FIXED,
        1 if method or isinstance(rule_method, Quadrature) else _parts(dim),
        check_count("steps", steps),
        check_positive(
            "learning_rate", (0.1 if mixture else 0.03) if learning_rate is None else learning_rate
        ),
        polish,
        progress,
    )
    schedule = (
        mode_penalty, held_out, restarts, steps, recipe.learning_rate, polish, batch_size, seed
    )  # fmt: skip
    file = Checkpoint(
        checkpoint,
        lambda: {
            "x": points.digest(),
            "settings": repr((modes, bounds, hidden, network.__name__, learn_rho, method)),
            "schedule": repr(schedule),
        },
    )
    with fork_random_state(shift.device):
        blank = partial(
            LSEICNN, dim, hidden=hidden, network=network, dtype=shift.dtype, device=shift.device
        )
        LSEDensity(blank(1), bounds, method=method)  # refuses what cannot be normalised, early
        reseed(seed, shift.device)
        data = FitData.split(points, n_test, batch_size)
        search = ModeSearch(file, mode_penalty, shift.device)
        rho = 0.3 if learn_rho else 1.0
        while len(search.done) < modes and not search.stalled:
            k = len(search.done) + 1
            pot = blank(k, batch_shape=(1 if mixture else restarts, *batch), rho=rho)
            pot.log_rho.requires_grad_(learn_rho)
            if mixture:
                start_on_mixture(pot, data.sample, seed, restarts)
            else:
                start_on_clusters(pot, data.sample, seed)
            try:
                candidate = train(pot, data, recipe, search)
            except NonFiniteLossError as error:
                error.potential.network.compose_affine_(shift, scale)
                raise
            search.add(candidate)
        precise = data.double()
        trial = min(polish, TRIAL)

        def go_on(rough: Candidate, steps: int) -> Candidate:
            pot = blank(rough.modes, batch_shape=(1, *batch), rho=rho).double()
            pot.log_rho.requires_grad_(learn_rho)
            return polish_candidate(pot, rough, precise, recipe, steps)

        while polish:
            if rough := search.promising():
                search.replace(go_on(rough, trial))
            elif rough := search.mergeable():
                pot = blank(rough.modes, batch_shape=batch, rho=rho).double()
                pot.load_state_dict(rough.state)
                state = snapshot(merge_closest(pot, precise.sample))
                search.improve(go_on(search.merge(rough, state, polish), trial))
            elif rough := search.unfinished():
                search.replace(go_on(rough, rough.left))
            else:
                break
        pot = search.assemble(blank)
        if mixture:
            _balance_(pot, data, recipe.rule_of(pot))
    pot.network.compose_affine_(shift.expand(*batch, dim), scale.expand(*batch, dim))
    return result_of(LSEDensity(pot, bounds, method=method), points, search.done)


def _check_inside(points: Points, box: Box | None) -> None:
    if box is None:
        return
    outside = sum(int((~box.contains(part)).sum()) for part in points.parts())
    if outside:
        raise ValueError(
            f"bounds: {outside} of the {math.prod(points.shape[:-1])} points lie outside "
            f"low={box.low.tolist()}, high={box.high.tolist()}"
        )


def _fit_method(dim: int, box: Box | None) -> Method:
    """The rule during a fit: coarser than the density's own, which is for reported numbers."""
    if dim == 1 or (dim == 2 and box is not None):
        return Quadrature(tolerance=1e-4, panels=8 // dim**2)
    return MomentMixture(samples=_parts(dim) * DRAWS, sobol=True)


def _parts(dim: int) -> int:
    return PARTS if dim > 2 else 2


@torch.no_grad()
def _balance_(pot: LSEICNN, data: FitData, rule: Rule) -> None:
    """Give each mode of a mixture the mass that the data ask for: a step of EM, in closed form."""
    ratio = data.mean(pot.responsibilities) / rule.mode_weights(pot)
    used = ratio.isfinite() & (ratio > 0)
    whitened(pot.network).icnn.bias[..., -1] -= torch.where(used, ratio, 1.0).log()
