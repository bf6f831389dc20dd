r"""Gates, which open and close a mode (paper Eq. 6).

.. math:: s = \mathrm{sigmoid}(10 (\alpha/2 - 1))
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import logsigmoid

STEEPNESS = 10.0  # the paper's: gates of alpha from 0 to 4 run from 4.5e-5 to 1 - 4.5e-5
CLOSED = -18.0  # alpha of a mode that is not there: log gate = -100


def log_gate(alpha: Tensor) -> Tensor:
    """log s of alpha, finite for every alpha.

    Example:
        >>> import torch
        >>> log_gate(torch.tensor(2.0)).exp()
        tensor(0.5000)
    """
    return logsigmoid(STEEPNESS / 2 * alpha - STEEPNESS)


def alpha_of(gate: float) -> float:
    """The alpha whose gate is ``gate``, in (0, 1)."""
    return 2.0 * (1.0 + math.log(gate / (1.0 - gate)) / STEEPNESS)
