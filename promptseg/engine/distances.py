"""Exact Euclidean distances in mm to a mask's border, where voxels need not be cubes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["distance_mm", "signed_distance_mm"]

Mask = NDArray[np.bool_]


def distance_mm(mask: Mask, spacing_mm: tuple[float, ...]) -> NDArray[np.float32]:
    """Return every True voxel's distance from its centre to the nearest False one's, 0 at False.

    Args:
        mask: bool (z, y, x); the image's border is no border of it.
        spacing_mm: (z, y, x).
    """
    import edt

    return np.asarray(edt.edt(np.ascontiguousarray(mask), anisotropy=spacing_mm, black_border=False))


def signed_distance_mm(mask: Mask, spacing_mm: tuple[float, ...]) -> NDArray[np.float32]:
    """Return the distance to a mask's border, which lies between voxels: positive inside, as ``distance_mm``.

    A mask that is empty or full, infinitely far from its border, is as far as the sum of its edges.
    """
    limit = np.float32(sum(mask.shape) * max(spacing_mm))
    inside, outside = distance_mm(mask, spacing_mm), distance_mm(~mask, spacing_mm)
    return np.asarray(np.clip(inside, 0, limit) - np.clip(outside, 0, limit), np.float32)
