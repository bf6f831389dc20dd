"""Random draws of a fit, and turns between threads at what is one for the whole process.

Begin with :mod:`~lse_vi.random.draws`.
"""

from lse_vi.random.draws import generator
from lse_vi.random.turns import own_draws, taking_turns

__all__ = ["generator", "own_draws", "taking_turns"]
