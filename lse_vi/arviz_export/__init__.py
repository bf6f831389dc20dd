"""Posteriors of any Pyro model as ArviZ sees them: ``lse_vi.to_arviz``.

Begin with :mod:`~lse_vi.arviz_export.export`, the public function. It imports ArviZ, which takes
longer than all other imports together, so this file does not load it: ``lse_vi.to_arviz`` loads it
on first use.
"""

from lse_vi.arviz_export.settings import ExportSettings

__all__ = ["ExportSettings"]
