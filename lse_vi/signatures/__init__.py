"""Arguments: of what kind each must be, and which keywords of a call are settings or a model's.

Begin with :mod:`~lse_vi.signatures.checked`.
"""

from lse_vi.signatures.checked import checked

__all__ = ["checked"]
