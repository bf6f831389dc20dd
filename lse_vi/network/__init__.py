"""The network: K convex functions in one module, and their log-sum-exp, the potential E.

Begin with :mod:`~lse_vi.network.potential`: all other rooms build on its :class:`LSEICNN`.
:mod:`~lse_vi.network.icnn` holds the modes, plain or strongly convex, and
:mod:`~lse_vi.network.convex_stack` evaluates all of them in one product per layer. A mode is convex
because its inner weights are positive and its activation is convex and increasing.
"""

from lse_vi.network.files import load
from lse_vi.network.icnn import ICNN, WhitenedICNN
from lse_vi.network.potential import LSEICNN

__all__ = [
    "ICNN",
    "LSEICNN",
    "WhitenedICNN",
    "load",
]
