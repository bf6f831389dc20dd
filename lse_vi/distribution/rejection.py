"""Exact draws by rejection from a bound."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from lse_vi.distribution.bounds import UpperBound

PROPOSED = 4_000_000  # numbers proposed at once in rejection sampling, to bound the memory


def rejection_sample(bound: UpperBound, shape: Size, batch_shape: Size, dim: int) -> Tensor:
    """Exact draws (*shape, *batch, dim) by rejection from ``bound``.

    Raises:
        RuntimeError: when fewer than one proposal in 100,000 is accepted.
    """
    wanted, size = shape.numel(), batch_shape.numel()
    accepted: list[list[Tensor]] = [[] for _ in range(size)]
    missing = torch.full((size,), wanted)
    most = max(1, PROPOSED // (size * dim))
    proposed, block = 0, min(max(64, int(1.2 * wanted)), most)
    while not proposed or bool((missing > 0).any()):
        x, log_accept = bound.propose(block)
        keep = torch.rand_like(log_accept).log() < log_accept
        proposed += block
        for i in range(size):
            good = x.reshape(block, size, dim)[:, i][keep.reshape(block, size)[:, i]]
            accepted[i].append(good[: int(missing[i])])
            missing[i] -= len(accepted[i][-1])
        got = wanted - int(missing.max())
        if proposed > 1_000_000 and got < 1e-5 * proposed:
            raise RuntimeError(
                f"exact sampling accepts {got} of {proposed:,} proposals: the modes are far more "
                "curved than their frames. Use a potential whose frames fit its modes (fit_density "
                "and fit_guide do), a wider box, or draw from q with Pyro's NUTS."
            )
        rate = max(got / proposed, 1e-3)
        block = min(max(64, int(1.2 * int(missing.max()) / rate)), most)
    draws = torch.stack([torch.cat(parts) for parts in accepted], dim=1)
    return draws.reshape(shape + batch_shape + (dim,))
