"""Random draws from a generator of one's own: what other threads draw does not change a fit.

Every draw of this library names ``generator(device)``. It is that of the fit at work in this
thread (:func:`~lse_vi.fitting.random_state.seeded`), and torch's own one outside of fits.
"""

from __future__ import annotations

from contextvars import ContextVar

import torch
from torch import Size, Tensor


class Generators:
    """A generator for each device, all from one seed; each is made when it is first asked for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._made: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device | str) -> torch.Generator:
        """The generator for tensors on ``device``."""
        device = torch.device(device)
        if device not in self._made:
            self._made[device] = torch.Generator(device).manual_seed(self.seed)
        return self._made[device]


# A thread begins without: a variable of a context is never another thread's.
CURRENT: ContextVar[Generators | None] = ContextVar("lse_vi_generators", default=None)


def generator(device: torch.device | str = "cpu") -> torch.Generator | None:
    """The generator of the fit at work in this thread; None, which is torch's own, without one.

    Example:
        >>> torch.rand(3, generator=generator()).shape
        torch.Size([3])
    """
    current = CURRENT.get()
    return None if current is None else current.on(device)


def rand(*size: int) -> Tensor:
    """Draws from [0, 1) on the CPU, as ``torch.rand``: the same for a fit on a GPU."""
    return torch.rand(size, generator=generator())


def randn(*size: int) -> Tensor:
    """Draws of N(0, 1) on the CPU, as ``torch.randn``."""
    return torch.randn(size, generator=generator())


def randperm(n: int) -> Tensor:
    """A random order of n things, as ``torch.randperm``."""
    return torch.randperm(n, generator=generator())


def randint(high: int, *size: int) -> Tensor:
    """Draws from 0, ..., high - 1, as ``torch.randint``."""
    return torch.randint(high, size, generator=generator())


def randn_like(x: Tensor) -> Tensor:
    """Draws of N(0, 1), as ``torch.randn_like``."""
    return torch.empty_like(x).normal_(generator=generator(x.device))


def rand_like(x: Tensor) -> Tensor:
    """Draws from [0, 1), as ``torch.rand_like``."""
    return torch.empty_like(x).uniform_(generator=generator(x.device))


def categorical(logits: Tensor, n: int) -> Tensor:
    """``n`` draws of an index, (n, *batch), with logits (*batch, k) that need not be normalised.

    Example:
        >>> categorical(torch.zeros(2, 3), 5).shape
        torch.Size([5, 2])
    """
    p = torch.softmax(logits, -1)
    flat = torch.multinomial(p.reshape(-1, p.shape[-1]), n, True, generator=generator(p.device))
    return flat.T.reshape(n, *p.shape[:-1])


def chi2(freedom: float, shape: Size | tuple[int, ...], like: Tensor) -> Tensor:
    """Draws of chi-square with ``freedom`` degrees of freedom, of the type of ``like``."""
    half = like.new_full(shape, 0.5 * freedom)
    return 2 * torch._standard_gamma(half, generator=generator(half.device))
