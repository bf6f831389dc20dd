r"""Labels of exchangeable components, such as those of a mixture, put in one order in all draws.

A model whose components can change places has a posterior with K! copies, and an average over all
of them says nothing of any component. Each draw's components are permuted so that they are most
probable under independent normals, one for each component and entry,

.. math:: \min_\pi \sum_k \sum_f \tfrac12 \Big(\frac{x_{\pi(k) f} - m_{kf}}{s_{kf}}\Big)^2
    + \log s_{kf},

whose moments m, s are those of the relabelled draws themselves, until no label changes (Stephens
2000). Each step is an assignment problem, solved exactly.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

ROUNDS = 50  # at most: a few suffice
LEAST_DEVIATION = 1e-6  # of a component, relative to that of all: one that never varies


def orders(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """For each draw, which of its components comes first, second, ...: (n, components).

    Args:
        x: draws (n, components, entries), each in an order of its own.
        like: draws (m, components, entries), all in the order that is wanted.

    Example:
        >>> like = np.array([[[0.0], [5.0]], [[0.1], [5.2]]])
        >>> orders(np.array([[[5.1], [0.2]], [[0.0], [4.9]]]), like).tolist()
        [[1, 0], [0, 1]]
    """
    spread = LEAST_DEVIATION * (x.std((0, 1)) + np.finfo(x.dtype).tiny)
    order = np.tile(np.arange(x.shape[1]), (len(x), 1))
    known, seen = like, None
    for _ in range(ROUNDS):
        mean, sd = known.mean(0), known.std(0) + spread
        each = (x[:, :, None] - mean) / sd  # (n, own component, place, entries)
        cost = (0.5 * each**2 + np.log(sd)).sum(-1)
        order = np.array([linear_sum_assignment(row.T)[1] for row in cost])
        if seen is not None and (order == seen).all():
            break
        known, seen = np.take_along_axis(x, order[:, :, None], 1), order
    return order
