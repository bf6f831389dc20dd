"""Notebooks run with short fits in the tests, unless LSE_VI_FAST is set (empty: full settings)."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("LSE_VI_FAST", "1")
# Their kernels find `models` and `data_gen` where the package is not installed as editable, too.
places = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ["PYTHONPATH"] = os.pathsep.join(places)
# Minutes with short fits too.
SLOW_NOTEBOOKS = {"02_schlogl.ipynb"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leave the longest notebook to ``make test-all``."""
    for item in items:
        if item.path.name in SLOW_NOTEBOOKS:
            item.add_marker(pytest.mark.slow)
