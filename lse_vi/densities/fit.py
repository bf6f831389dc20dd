"""The fit of a density to data, with all restarts and all data sets in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lse_vi.checks import check_counts
from lse_vi.densities.background import Background
from lse_vi.densities.data_source import Points
from lse_vi.densities.merging import merge_closest
from lse_vi.densities.objective import judge
from lse_vi.densities.polish import ROUND_GAIN
from lse_vi.densities.polish import polish as polish_candidate
from lse_vi.densities.recipe import DensityRecipe, Settings, density_recipe, fingerprint
from lse_vi.densities.result import FitResult, result_of
from lse_vi.densities.starts import start_on_mixture, start_on_walls
from lse_vi.densities.training import train
from lse_vi.densities.training_data import FitData
from lse_vi.distribution.box import Box
from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.peaks import climb_to_peaks
from lse_vi.distribution.rule import AnyRule, Method
from lse_vi.distribution.wrapping import mode_moments
from lse_vi.fitting.best_state import State, replace_where, snapshot
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.mode_search import Candidate, ModeSearch
from lse_vi.fitting.random_state import seeded
from lse_vi.fitting.starts import start_on_clusters
from lse_vi.network.icnn import ICNN, WhitenedICNN
from lse_vi.network.potential import LSEICNN
from lse_vi.signatures.checked import checked
from lse_vi.signatures.gradients import with_gradients
from lse_vi.tables.table import Table

# Steps of L-BFGS after which numbers of modes are compared: by then most of the gain is made. Only
# the best, and those that may still become it, take the remaining steps.
TRIAL_STEPS = 100
# Steps in which the winner nearly always converges. The few that do not are in a long valley, such
# as that of a wall that grows steeper, where thousands of steps gain what no data can show.
LAST_STEPS = 200
# Dimensions in which a rule is exact enough to converge on: in more, what the last steps gain are
# the errors of its draws.
EXACT_DIM = 2
TIE = 2 * ROUND_GAIN  # nats: what the two idle rounds that end a polish may have left
NARROWEST = 1e-3  # width of a mode in standardised units, as a mode on equal points has none


@checked
@with_gradients()
def fit_density(
    x: Any,
    *,
    value: str | Sequence[str] | None = None,
    by: str | None = None,
    weights: Any = None,
    modes: int = 5,
    bounds: Any = None,
    period: Any = None,
    background: bool = False,
    hidden: Sequence[int] = (10, 10),
    network: type[ICNN | WhitenedICNN] = WhitenedICNN,
    learn_rho: bool | None = None,
    mode_penalty: float | None = None,
    held_out: float = 0.1,
    restarts: int = 4,
    steps: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    polish: int = 600,
    method: Method | None = None,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> FitResult:
    r"""Fit an LSE-ICNN density to data by penalised maximum likelihood, and count its modes.

    Use it for points without labels, to learn their density and how many modes it has. For
    K = 1, 2, ... the fit maximises, over the data and a weakly informative prior,

    .. math:: \sum_i \log q(x_i; \theta) + \log p(\theta) - \lambda K,

    and keeps the best K, or a larger K that explains the held-out points better by more than 2.5
    standard errors. The search stops when three more modes have not helped. It then goes down from
    the best K: two modes that share points are merged, as long as the objective loses less than
    the penalty of a mode. The penalty removes modes that are not needed. The gates cannot remove
    them, since a smaller gate s_k is made up for by a lower f_k.

    Under ``torchrun``, once ``torch.distributed`` is initialised, the processes share the points of
    each step. All processes must call the function with the same arguments, and all end with the
    same fit.

    Args:
        x: data (n, dim) or (n,), a tensor, an array, or a memory map, which is never read as a
            whole; or (n, *batch, dim) for a batch of data sets fitted at once. Values on a grid
            that five points or more share, as bins of a histogram or small counts, are cells, over
            which points are spread (``result.cells``): else each would become a mode of its own.
        value: where ``x`` is a DataFrame, the columns that hold the points; rows that miss an entry
            are left out, and counted in ``result.warnings``.
        by: where ``x`` is a DataFrame, the column by which the rows are grouped, such as the time.
            Each group is a data set of the batch, of any length: ``result["4.0"]`` is its fit.
        weights: of the points, (n,) or (n, *batch), or the name of a column. Integers are counts,
            as of a histogram: a point of weight 3 is three equal points. Floating numbers are
            relative, as those of a reweighted sample or a survey: only their ratios matter, and the
            points are worth (sum w)^2 / sum w^2 in the penalty and all errors (``result.ess``).
        modes: the largest number of modes to try.
        bounds: (low, high) of the support, each a number or ``dim`` numbers; None for an open side,
            as in (0, None) for waiting times, and for R^d.
        period: of x, a number or one per coordinate, None where not periodic: 360 for angles in
            degrees. The modes are then on the circle, and their places are given in [-P/2, P/2).
        background: add a Gaussian as wide as the whole range of the data, for points that belong to
            no mode: strays, sentinel values, bad records. Its mass is reported
            (``result.background``), and is the last of ``mode_weights``. It needs rho = 1 and
            strongly convex modes.
        hidden: widths of the hidden layers of each mode; () makes a Gaussian mixture.
        network: strongly convex modes by default; ``ICNN`` for the paper's plain ones.
        learn_rho: learn the sharpness rho, which shapes the passes between the modes. By default
            on a closed box in 1-2 dimensions; elsewhere rho stays 1, a mixture of log-concave
            densities.
        mode_penalty: lambda, in nats per mode; by default log(n)/2 for each of the
            1 + 2 dim + dim (dim + 1)/2 parameters of a mode (BIC): mass, mean, covariance, and a
            shape parameter per axis.
        held_out: share of the data that decides whether the end of the fit is kept: its start is,
            if these points are explained worse by more than a standard error. It also decides when
            Adam stops early. 0 to fit all data.
        restarts: random starts for each K. Each is a Gaussian mixture fitted by EM, and the modes
            start on the best of these mixtures; plain modes are fitted from all, in one batch.
        steps: Adam steps for each K, under a one-cycle schedule. By default none from a Gaussian
            mixture (500 if no L-BFGS follows), and 600 from other starts.
        learning_rate: the peak of the schedule. By default 0.1 from a Gaussian mixture, and 0.03
            from other starts.
        batch_size: points of a step, drawn at random. By default all points if n <= 65,536, and
            16,384 if n is larger, so that memory does not grow with n.
        polish: at most so many L-BFGS steps from there for the best restart, if a step takes all
            points; 0 for none. Every K that may still win takes the first 100, as does K - 1 after
            a merger of two modes of K that may win; the winner takes the rest, and so do fits that
            may still win; of what is left then, the winner takes up to 200 to converge. The steps
            are taken in coordinates scaled by the curvature, and so find steep walls that cost Adam
            thousands of steps.
        method: how log Z is found during the fit, as in :class:`LSEDensity`.
        seed: for the starts and the held-out share; the global random state is left alone.
        progress: show a bar with the loss.
        checkpoint: a file to write after each K and every 50 steps of Adam; an interrupted fit
            called again with the same arguments goes on from it and ends where an uninterrupted one
            does.

    Raises:
        TypeError: for a network or a method of another type, and counts that are no integers.
        ValueError: for data that are empty, not finite, constant, too few or outside ``bounds``.
        NonFiniteLossError: when the loss stops being finite, with the last good state.

    Example:
        >>> x = torch.cat([torch.randn(100) - 4, torch.randn(100) + 4])
        >>> res = fit_density(x, modes=3, steps=150, restarts=1, progress=False)
        >>> int(res.active_modes)
        2
    """
    table = Table.of(x, weights, value, by)
    given = Points.of("x", table.x, table.weights, period)
    like = given.like
    batch, dim = given.shape[1:-1], given.shape[-1]
    box = None if bounds is None else Box.of(bounds, dim, like)
    points = given.in_cells(box)
    settings = Settings(modes, check_counts("hidden", hidden), network, method, background)
    model: dict[str, Any] = {"learn_rho": learn_rho, "mode_penalty": mode_penalty}
    use: dict[str, Any] = {"held_out": held_out, "restarts": restarts, "batch_size": batch_size}
    pace: dict[str, Any] = {"steps": steps, "learning_rate": learning_rate, "polish": polish}
    common: dict[str, Any] = {"seed": seed, "progress": progress, "checkpoint": checkpoint}
    recipe = density_recipe(points, box, settings, **model, **use, **pace, **common)
    if box is not None:
        box.check_holds(given.parts())
    template = settings.template(like, recipe)
    LSEDensity(template, bounds, method=method)  # raises early if q has no finite Z
    file = Checkpoint(checkpoint, lambda: fingerprint(points, box, settings, recipe))
    with seeded(seed):
        data = _split(points, recipe, template.alpha.dtype, background)
        search = ModeSearch(file, recipe.penalty, like.device, tie=TIE)
        while len(search.done) < modes and not search.stalled:
            pot = template.resized(len(search.done) + 1, (recipe.starts, *batch))
            _start(pot, data, recipe)
            try:
                candidate = train(pot, data, recipe, search)
            except NonFiniteLossError as error:
                _in_units_(error.potential, points)
                raise
            search.add(candidate)
        trial = min(recipe.polish, TRIAL_STEPS)

        def go_on(rough: Candidate, steps: int, **until: Any) -> Candidate:
            pot = template.resized(rough.modes, (1, *batch))
            return polish_candidate(pot, rough, data, recipe, steps, **until)

        while recipe.polish:
            if rough := search.promising():
                search.replace(go_on(rough, trial))
            elif rough := search.mergeable():
                state = _merged(template.resized(rough.modes, batch), rough.state, data)
                fewer = search.merge(rough, state, recipe.polish)
                fewer = go_on(fewer, trial, goal=search.goal(fewer))
                if search.undecided(fewer):
                    fewer = go_on(fewer, fewer.finish.left)
                search.improve(fewer)
            elif rough := search.unfinished():
                until = {"goal": search.goal(rough), "settled": search.settled(rough)}
                search.replace(go_on(rough, rough.finish.left, **until))
            elif dim <= EXACT_DIM and (rough := search.winner()):
                search.replace(go_on(rough, _last_steps(rough, recipe), converge=True))
            else:
                break
        pot = search.assemble(template)
        peaks = _count_peaks(pot, recipe)
        pot = pot if data.background is None else data.background.joined(pot)
        if recipe.mixture and not recipe.learn_rho:
            _balance_(pot, data, recipe.rule_of(pot))
    _in_units_(pot, points)
    density = LSEDensity(pot, bounds, method=method)
    return result_of(density, points, given, peaks, search.history, table, background=background)


def _split(points: Points, recipe: DensityRecipe, dtype: torch.dtype, background: bool) -> FitData:
    """The points to train on and those held out, and the part beside the modes."""
    beside = Background.of(points, recipe.box) if background else None
    return FitData.split(points, recipe.n_test, recipe.batch_size, dtype, beside, recipe.half_open)


def _last_steps(winner: Candidate, recipe: DensityRecipe) -> int:
    """The steps in which the winner may converge, of those that ``polish`` leaves."""
    spent = int(winner.history["step"][-1]) - recipe.steps
    return min(LAST_STEPS, max(recipe.polish - spent, 0))


def _start(pot: LSEICNN, data: FitData, recipe: DensityRecipe) -> None:
    """Set the modes to where the training of ``pot``, of batch shape (starts, *batch), begins."""
    x, weights, beside = data.sample, data.sample_weights, data.background
    if not recipe.mixture:
        start_on_clusters(pot, x, recipe.seed, weights)
        return
    start_on_mixture(pot, x, recipe.seed, recipe.restarts, beside, weights)
    _match(pot, data, recipe)
    if recipe.box is not None and recipe.half_open and pot.modes == 1:
        bowl, value = snapshot(pot), judge(pot, data, recipe.rule_of(pot))[0]
        start_on_walls(pot, x, recipe.box, weights)
        _match(pot, data, recipe)
        better = judge(pot, data, recipe.rule_of(pot))[0] > value
        pot.load_state_dict(replace_where(better, snapshot(pot), bowl))


def _match(pot: LSEICNN, data: FitData, recipe: DensityRecipe) -> None:
    """Give the modes beside a background the mass in units of which its own is."""
    if data.background is not None:
        pot.add_offset_(recipe.rule_of(pot).log_normalizer(pot))


def _in_units_(pot: LSEICNN, points: Points) -> None:
    """A potential of standardised data as one of the data, in their precision and units.

    All data sets share the moments.
    """
    pot.to(points.like.dtype)
    pot.network.compose_affine_(*(m.expand(*pot.batch_shape, pot.dim) for m in points.moments))
    if points.period is not None:
        pot.units.set_(period=points.period)


def _merged(pot: LSEICNN, state: State, data: FitData) -> State:
    """The ``state`` of ``pot`` with two modes in one."""
    pot.load_state_dict(state)
    return snapshot(merge_closest(pot, data.sample, data.modes_share(pot), data.sample_weights))


@torch.no_grad()
def _balance_(pot: LSEICNN, data: FitData, rule: AnyRule) -> None:
    """Set the mass of each mode of a mixture to its share of the data, by one EM step."""
    shares = data.mean(lambda x, w: pot.responsibilities(x) * w.unsqueeze(-1))
    ratio = shares / rule.mode_weights(pot)
    used = ratio.isfinite() & (ratio > 0)
    pot.network.add_offset_(-torch.where(used, ratio, 1.0).log())


@torch.no_grad()
def _count_peaks(pot: LSEICNN, recipe: DensityRecipe) -> Tensor:
    """The number of peaks of each density, (*batch,); ``pot`` is in standardised units."""
    weights, mean, deviation = mode_moments(pot, recipe.rule_of(pot))
    widths = deviation.nan_to_num(1.0).clamp_min(NARROWEST)
    mean = mean.nan_to_num()
    box = recipe.box and recipe.box.to(pot.alpha.dtype)
    return climb_to_peaks(pot, mean, widths, weights, box).number
