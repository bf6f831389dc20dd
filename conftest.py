"""Notebooks run with short fits in the tests, unless LSE_VI_FAST is set (empty: full settings)."""

import os

os.environ.setdefault("LSE_VI_FAST", "1")
