"""The posterior of a density by NUTS, started from a variational fit and in its frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from pyro.infer import MCMC, NUTS
from torch import Tensor

from lse_vi.bayesian.annealing import covariance_root
from lse_vi.bayesian.model import BayesianDensity
from lse_vi.bayesian.result import DensityPosterior
from lse_vi.checks import check_count
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.fingerprint import digest
from lse_vi.fitting.random_state import seeded
from lse_vi.fitting.steps import Steps
from lse_vi.random.turns import alone, own_draws
from lse_vi.signatures.checked import checked
from lse_vi.signatures.gradients import with_gradients

TARGET = 0.9  # acceptance to which the step size adapts: above Pyro's 0.8, against divergences
DEPTH = 6  # of the tree, at most 2^6 - 1 leapfrog steps: in a white frame, short paths are enough
FIRST_STEP = 0.2  # step size before its adaptation, in standard deviations of the posterior
PROBES = 16  # draws of the fit at which the log joint is compared with that of a checkpoint
SEED_STRIDE = 1000  # between the seeds of two fits: up to so many chains share no seed with another


@checked
@with_gradients()
def sample_posterior(
    fit: DensityPosterior,
    *,
    chains: int = 4,
    draws: int = 500,
    warmup: int = 200,
    processes: int = 1,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> DensityPosterior:
    r"""Draws by NUTS (Hoffman & Gelman 2014) for the model of a variational fit.

    Use it to check a fit whose k-hat is high, or where the answer must not rest on the annealing.

    With theta = mean + root z, where mean and root root^T are the mean and covariance of the fit's
    draws, the posterior of z is nearly N(0, 1). So a unit mass matrix and short trajectories are
    enough, and only the step size is adapted. Each chain starts from a draw of the fit.

    Args:
        fit: from :func:`~lse_vi.fit_posterior`; the chains start from its draws.
        chains: number of chains.
        draws: number of draws of each chain, after its warm-up.
        warmup: number of draws in which the step size is adapted; they are dropped.
        processes: number of chains that run at the same time. A script that asks for more than one
            must hold the call under ``if __name__ == "__main__":``.
        seed: of the chains; the process keeps its random state and its number of threads.
        progress: show a bar for each chain.
        checkpoint: a file to write after each chain; an interrupted call with the same arguments
            goes on from it.

    Returns:
        A posterior with draws (chains, draws, size), and ``stats["diverging"]``, (chains, draws).

    Raises:
        ValueError: if a number is below 1, or there are fewer than four draws.

    Example:
        >>> from lse_vi import fit_posterior
        >>> fit = fit_posterior(torch.randn(30), modes=1, hidden=(), progress=False)
        >>> sample_posterior(fit, chains=2, draws=10, warmup=10, progress=False).theta.shape
        torch.Size([2, 10, 3])
    """
    for name, value, least in (("chains", chains, 1), ("draws", draws, 4), ("warmup", warmup, 1)):
        check_count(name, value, least)  # of draws, Pyro's diagnostics need four
    past = fit.draws
    center = past.mean(0)
    framed = fit.model.in_frame(center, covariance_root(past))
    rows = torch.linspace(0, len(past) - 1, chains).round().long()
    starts = torch.linalg.solve_triangular(framed.root, (past[rows] - center).mT, upper=False).mT
    run = partial(_chain, framed, draws=draws, warmup=warmup, progress=progress)
    jobs = [(start, seed * SEED_STRIDE + i) for i, start in enumerate(starts)]
    decisive = (chains, draws, warmup, seed)
    taken = Steps(
        Checkpoint(
            checkpoint,
            lambda: {
                "fit": digest([fit.theta]),
                "settings": digest([decisive]),
                "model": fit.model.unit_log_joint(past[:PROBES]).tolist(),
            },
        )
    )
    left = [job for i, job in enumerate(jobs) if f"chain {i}" not in taken]
    with _map(check_count("processes", processes)) as over:
        ends = iter(over(run, left))
        results = [taken.take(f"chain {i}", lambda: next(ends)) for i in range(chains)]
    stats = {name: torch.stack([s[name] for _, s in results]).numpy() for name in results[0][1]}
    theta = torch.stack([framed.theta(z) for z, _ in results])
    return DensityPosterior(fit.model, theta, source=f"NUTS, {chains} chains", stats=stats)


class Energy:
    """The negative log joint of z, up to a constant, as ``potential_fn`` of Pyro's NUTS."""

    def __init__(self, model: BayesianDensity) -> None:
        self.model = model

    def __call__(self, values: dict[str, Tensor]) -> Tensor:
        """The potential at ``values["z"]`` (size,), a scalar."""
        return -self.model.unit_log_joint(self.model.theta(values["z"]))


@contextmanager
def _map(processes: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """A ``map`` that shares its work among processes."""
    if processes == 1:
        yield map
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield pool.map


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within, torch computes on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _chain(
    model: BayesianDensity, job: tuple[Tensor, int], *, draws: int, warmup: int, progress: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Draws (draws, size) of one chain, and its statistics, each (draws,).

    Args:
        model: in the frame of the chain.
        job: where the chain starts, (size,), and its seed.
    """
    start, seed = job
    with alone(), _one_thread(), seeded(seed), own_draws():
        kernel = NUTS(
            potential_fn=Energy(model),
            step_size=FIRST_STEP,
            adapt_mass_matrix=False,
            target_accept_prob=TARGET,
            max_tree_depth=DEPTH,
        )
        chain = MCMC(
            kernel,
            num_samples=draws,
            warmup_steps=warmup,
            initial_params={"z": start.clone()},
            disable_progbar=not progress,
        )
        chain.run()
    where = torch.tensor(chain.diagnostics()["divergences"]["chain 0"], dtype=torch.long)
    flags = torch.zeros(draws, dtype=torch.bool)
    flags[where] = True
    return chain.get_samples()["z"], {"diverging": flags}
