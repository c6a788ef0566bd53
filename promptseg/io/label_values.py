"""Which label values an array holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TABLE_LIMIT", "present_values"]


TABLE_LIMIT = 1 << 24  # largest label value for which a table of all values is kept


def present_values(array: NDArray[Any]) -> list[int]:
    """Return the values above 0 of an unsigned array, sorted (a table look-up: no sorting of voxels)."""
    highest = int(array.max())
    if highest > TABLE_LIMIT:
        return [int(value) for value in np.unique(array) if value]
    table = np.zeros(highest + 1, dtype=np.bool_)
    for part in array:
        table[part.ravel()] = True
    return [int(value) for value in np.flatnonzero(table) if value]
