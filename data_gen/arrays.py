"""Names for the types of arrays: what a signature of a generator or a study takes and returns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
IndexArray = NDArray[np.uint64]
BoolArray = NDArray[np.bool_]
