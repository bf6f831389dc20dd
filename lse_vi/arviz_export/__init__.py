"""Posteriors of any Pyro model as ArviZ sees them: ``lse_vi.to_arviz``.

Begin with :mod:`~lse_vi.arviz_export.export`. It imports ArviZ, which takes longer than all else
together, so it is not loaded here: ``lse_vi.to_arviz`` loads it on first use.
"""

from lse_vi.arviz_export.settings import ExportSettings

__all__ = ["ExportSettings"]
