"""How far a fit is, and how long it takes: :mod:`~lse_vi.progress.bars`."""

from lse_vi.progress.bars import Bar

__all__ = ["Bar"]
