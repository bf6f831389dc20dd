"""Exact draws of a density, by rejection from an upper bound."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from lse_vi.distribution.bounds import UpperBound
from lse_vi.random.draws import rand_like

PROPOSED = 4_000_000  # most numbers that are proposed at once, to limit the memory
LEAST_BLOCK = 64  # fewest proposals at once: fewer take as long
SURPLUS = 1.2  # proposals per expected need: mostly one block more is then enough
# Proposals before a low acceptance rate is an error, and the least rate: at it, ten draws are
# expected by then.
TRIAL, LEAST_RATE = 1_000_000, 1e-5
LEAST_GUESS = 1e-3  # least acceptance rate by which the next block is sized, to limit its growth


def rejection_sample(bound: UpperBound, shape: Size, batch_shape: Size, dim: int) -> Tensor:
    """Exact draws of exp(-E) / Z by rejection from ``bound``.

    :meth:`LSEDensity.sample` is the way to call it.

    Args:
        bound: an upper bound of exp(-E).
        shape: of the draws.
        batch_shape: of the potentials.
        dim: dimension of x.

    Returns:
        Draws (*shape, *batch, dim).

    Raises:
        RuntimeError: if fewer than one proposal in 100,000 is accepted.

    Example:
        >>> from lse_vi import LSEICNN, WhitenedICNN
        >>> from lse_vi.distribution.bounds import GaussianBound
        >>> bound = GaussianBound(LSEICNN(3, 2, network=WhitenedICNN))
        >>> rejection_sample(bound, Size((5,)), Size(()), 3).shape
        torch.Size([5, 3])
    """
    wanted, size = shape.numel(), batch_shape.numel()
    accepted: list[list[Tensor]] = [[] for _ in range(size)]
    missing = torch.full((size,), wanted)
    most = max(1, PROPOSED // (size * dim))
    proposed, block = 0, min(max(LEAST_BLOCK, int(SURPLUS * wanted)), most)
    while not proposed or bool((missing > 0).any()):
        x, log_accept = bound.propose(block)
        keep = rand_like(log_accept).log() < log_accept
        proposed += block
        for i in range(size):
            good = x.reshape(block, size, dim)[:, i][keep.reshape(block, size)[:, i]]
            accepted[i].append(good[: int(missing[i])])
            missing[i] -= len(accepted[i][-1])
        got = wanted - int(missing.max())
        if proposed > TRIAL and got < LEAST_RATE * proposed:
            raise RuntimeError(
                f"exact sampling accepts {got} of {proposed:,} proposals: the modes are far more "
                "curved than their frames. Use a potential whose frames fit its modes (fit_density "
                "and fit_guide do), a wider box, or draw from q with Pyro's NUTS."
            )
        rate = max(got / proposed, LEAST_GUESS)
        block = min(max(LEAST_BLOCK, int(SURPLUS * int(missing.max()) / rate)), most)
    draws = torch.stack([torch.cat(parts) for parts in accepted], dim=1)
    return draws.reshape(shape + batch_shape + (dim,))
