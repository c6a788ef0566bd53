"""Pictures as they are meant to be seen: upright, palettes painted, CMYK as RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["from_cmyk", "paint", "upright"]


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return (z, y, x[, components]) turned as Orientation (TIFF 6.0 section 8, Exif; 1 to 8) says."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(1, 2)  # rows become columns
    if orientation in (2, 3, 6, 7):
        array = array[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[:, ::-1]
    return array if orientation == 1 else np.ascontiguousarray(array)


def paint(indices: NDArray[Any], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return RGB (z, y, x, 3) of palette indices; an index beyond the palette is black. ``palette``: (n, 3)."""
    colours = np.zeros((max(len(palette), int(indices.max()) + 1), 3), np.uint8)
    colours[: len(palette)] = palette
    return np.asarray(colours[indices])


def from_cmyk(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return RGB of CMYK (last axis; full ink is the type's largest value), without a colour profile."""
    ink = array.astype(np.float64) / np.iinfo(array.dtype).max
    light = (1.0 - ink[..., :3]) * (1.0 - ink[..., 3:4])
    return np.rint(255 * light).astype(np.uint8)
