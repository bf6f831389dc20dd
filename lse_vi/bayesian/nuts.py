"""The posterior of a density by NUTS, started from its variational fit and in its coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context

import pyro
import torch
from pyro.infer import MCMC, NUTS
from pyro.util import get_rng_state, set_rng_state
from torch import Tensor

from lse_vi.bayesian.annealing import covariance_root
from lse_vi.bayesian.model import BayesianDensity
from lse_vi.bayesian.result import DensityPosterior
from lse_vi.checks import check_count

TARGET = 0.9  # acceptance to which the step size is adapted: no divergences in the tails
DEPTH = 6  # at most 2^6 - 1 leapfrog steps: the coordinates are white


def sample_posterior(
    fit: DensityPosterior,
    *,
    chains: int = 4,
    draws: int = 500,
    warmup: int = 200,
    processes: int = 1,
    seed: int = 0,
    progress: bool = True,
) -> DensityPosterior:
    r"""Draws by NUTS (Hoffman & Gelman 2014) for the model of a fit of :func:`fit_posterior`.

    With theta = mean + root z, the mean and the root of the covariance of the fit's draws, the
    posterior of z is nearly white: a unit mass matrix and short trajectories do, and only the step
    size is adapted. Each chain starts from a draw of the fit.

    Args:
        fit: the variational fit.
        chains, draws, warmup: number of chains; draws of each, after ``warmup``.
        processes: chains that run at the same time; scripts that ask for more than one need the
            usual ``if __name__ == "__main__":``.
        seed: of the chains; random states and threads of the process are left alone.

    Returns:
        A posterior with draws (chains, draws, size), and ``stats`` "diverging".

    Example:
        >>> from lse_vi import fit_posterior
        >>> fit = fit_posterior(torch.randn(30), modes=1, hidden=(), progress=False)
        >>> sample_posterior(fit, chains=2, draws=10, warmup=10, progress=False).theta.shape
        torch.Size([2, 10, 3])
    """
    for name, value in (("chains", chains), ("draws", draws), ("warmup", warmup)):
        check_count(name, value)
    past = fit.draws
    center = past.mean(0)
    framed = fit.model.in_frame(center, covariance_root(past))
    rows = torch.linspace(0, len(past) - 1, chains).round().long()
    starts = torch.linalg.solve_triangular(framed.root, (past[rows] - center).mT, upper=False).mT
    run = partial(_chain, framed, draws=draws, warmup=warmup, progress=progress)
    jobs = [(start, seed * 1000 + i) for i, start in enumerate(starts)]
    if check_count("processes", processes) == 1:
        results = [run(job) for job in jobs]
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            results = list(pool.map(run, jobs))
    stats = {name: torch.stack([s[name] for _, s in results]).numpy() for name in results[0][1]}
    theta = torch.stack([framed.theta(z) for z, _ in results])
    return DensityPosterior(fit.model, theta, source=f"NUTS, {chains} chains", stats=stats)


class Energy:
    """The negative log joint of z, up to a constant, for Pyro's NUTS."""

    def __init__(self, model: BayesianDensity) -> None:
        self.model = model

    def __call__(self, values: dict[str, Tensor]) -> Tensor:
        """{"z": (size,)} -> ()."""
        return -self.model.log_joint(self.model.theta(values["z"]))


@contextmanager
def _to_itself(seed: int) -> Iterator[None]:
    """One thread, and every generator from ``seed``; afterwards as before."""
    threads, states = torch.get_num_threads(), get_rng_state()
    torch.set_num_threads(1)
    pyro.set_rng_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        set_rng_state(states)


def _chain(
    model: BayesianDensity, job: tuple[Tensor, int], *, draws: int, warmup: int, progress: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Draws (draws, size) of one chain, and its statistics."""
    start, seed = job
    with _to_itself(seed):
        kernel = NUTS(
            potential_fn=Energy(model),
            step_size=0.2,
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
