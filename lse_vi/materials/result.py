"""The result of a fit of a material."""

from __future__ import annotations

from dataclasses import dataclass, field

from lse_vi.fitting.history import History
from lse_vi.materials.elastic import Elastic


@dataclass
class MemoryFit:
    """What :func:`fit_memory` and :func:`polish_memory` return: the model and how the fit went.

    Attributes:
        model: the model that was given, fitted in place.
        history: lists ``step`` and ``loss``, the mean squared error in stress_unit^2.

    Example:
        >>> import torch
        >>> from lse_vi import LSEICNN, Isotropic, fit_memory
        >>> strain = 0.1 * torch.rand(8, 20, 1, 1) * torch.eye(3)
        >>> fit = fit_memory(Elastic(LSEICNN(3, 1), Isotropic()), strain, strain, progress=False,
        ...                  steps=10)
        >>> fit.model(strain).stress.shape
        torch.Size([8, 20, 3, 3])
    """

    model: Elastic
    history: History = field(repr=False)
