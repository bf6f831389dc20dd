"""The network: K convex functions in one module, and their log-sum-exp, the potential E.

Begin with :mod:`~lse_vi.network.potential`: :class:`LSEICNN` is what everything else is made of.
:mod:`~lse_vi.network.icnn` holds its modes, plain or strongly convex, and
:mod:`~lse_vi.network.convex_stack` how all of them are evaluated in one product per layer. A mode
is convex because inner weights are positive and the activation is convex and increasing.
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
