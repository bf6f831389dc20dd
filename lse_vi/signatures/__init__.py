"""What kind of object each argument of a function must be, read from its annotations.

Begin with :mod:`~lse_vi.signatures.checked`.
"""

from lse_vi.signatures.checked import checked

__all__ = ["checked"]
