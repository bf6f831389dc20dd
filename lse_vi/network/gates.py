r"""Gates, which weight each mode between closed (0) and open (1) (paper Eq. 6).

.. math:: s = \mathrm{sigmoid}(10 (\alpha/2 - 1))
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import logsigmoid

STEEPNESS = 10.0  # of the sigmoid, the paper's: alpha from 0 to 4 gives 4.5e-5 to 1 - 4.5e-5
CLOSED = -18.0  # alpha of a mode without effect: its log gate is -100, a weight of 4e-44


def log_gate(alpha: Tensor) -> Tensor:
    """log s of ``alpha``, of the same shape; unlike s it does not underflow.

    Example:
        >>> import torch
        >>> log_gate(torch.tensor(2.0)).exp()
        tensor(0.5000)
    """
    return logsigmoid(STEEPNESS / 2 * alpha - STEEPNESS)


def alpha_of(gate: float) -> float:
    """The alpha whose gate is ``gate``, in (0, 1), to initialise a mode.

    Example:
        >>> alpha_of(0.5)
        2.0
    """
    return 2.0 * (1.0 + math.log(gate / (1.0 - gate)) / STEEPNESS)
