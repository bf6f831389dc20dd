"""What all fits share: checkpoints, seeds, processes, the best state, the search for K.

Begin with :mod:`~lse_vi.fitting.mode_search`, which chooses the number of modes K of a density or a
potential. Nothing here depends on the objective of a fit.
"""

from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.processes import average_, own_share, processes

__all__ = [
    "NonFiniteLossError",
    "average_",
    "own_share",
    "processes",
]
