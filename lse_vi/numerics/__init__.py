"""Numerical methods that do not depend on potentials: minimisers, matrices, clusters, weights.

Begin with :mod:`~lse_vi.numerics.newton`, which finds every minimum in the library, and
:mod:`~lse_vi.numerics.bfgs`, which finds maxima from hundreds of starts at once. Functions of
tensors keep their dtype and device.
"""

from lse_vi.numerics.minima import Minima

__all__ = [
    "Minima",
]
