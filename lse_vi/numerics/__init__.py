"""Numerical methods that know nothing of potentials: minimisers, matrices, groups, weights.

Begin with :mod:`~lse_vi.numerics.newton`, to which every minimum in the library is traced, and
:mod:`~lse_vi.numerics.bfgs`, which climbs from hundreds of starts at once. All functions take
batches and carry dtype and device along.
"""

from lse_vi.numerics.minima import Minima

__all__ = [
    "Minima",
]
