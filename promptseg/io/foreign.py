"""Prompts that other tools and people already have: a RECIST line, a mask file, the boxes of a challenge file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from promptseg.errors import PromptError, ReadError
from promptseg.prompts import Box
from promptseg.volume import Geometry, Volume

__all__ = ["read_challenge_npz", "recist_box"]


def recist_box(start: Sequence[float], end: Sequence[float], geometry: Geometry) -> Box:
    """Turn a longest diameter, as measured by RECIST 1.1, into a box on its axial slice.

    The box is the square in mm that has the line as its diameter's length and the same centre: a lesion whose longest
    diameter is the line lies inside it, whichever way the line runs.

    Args:
        start: one end, voxel (z, y, x).
        end: the other end, on the same axial slice.
        geometry: the image's frame.

    Raises:
        PromptError: the ends lie on different slices, fall together, or lie outside the image.
    """
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    if a.shape != (3,) or b.shape != (3,) or round(a[0]) != round(b[0]):
        raise PromptError(f"expected two ends (z, y, x) on one axial slice, got {tuple(start)} and {tuple(end)}")
    if not (geometry.contains(a.tolist()) and geometry.contains(b.tolist())):
        raise PromptError(f"the line lies outside the image of shape (z, y, x) {geometry.shape}: {start} to {end}")
    spacing = np.array(geometry.spacing_zyx)
    half_mm = float(np.linalg.norm((b - a) * spacing)) / 2
    if half_mm == 0:
        raise PromptError(f"expected a line, got twice the point {tuple(start)}")
    z = round(a[0])
    low = np.maximum((a + b) / 2 - half_mm / spacing, -0.5)[1:]
    high = np.minimum((a + b) / 2 + half_mm / spacing, np.array(geometry.shape) - 0.5)[1:]
    # half-open, whole voxels: every voxel that the square touches
    y0, x0 = (int(v) for v in np.rint(low))
    y1, x1 = (int(v) + 1 for v in np.rint(high))
    return Box(voxel=((z, y0, x0), (z + 1, min(y1, geometry.shape[1]), min(x1, geometry.shape[2]))))


def read_challenge_npz(path: str | Path) -> tuple[Volume, tuple[Box, ...]]:
    """Read image and boxes of the CVPR MedSAM-on-laptop challenge's format.

    ``imgs`` is (z, y, x) or (y, x[, 3]) of 8 bits, ``spacing`` (x, y, z) mm where present, ``boxes`` (n, 6) of
    x_min, y_min, z_min, x_max, y_max, z_max for volumes or (n, 4) without z, with both ends inside the box.

    Raises:
        ReadError: not such a file. Pickled objects inside are refused: they can carry code.
    """
    source = Path(path)
    try:
        with np.load(source, allow_pickle=False) as data:
            names = set(data.files)
            if not {"imgs", "boxes"} <= names:
                raise ReadError(f"cannot read {source}: expected the arrays imgs and boxes, got {sorted(names)}")
            image, boxes = data["imgs"], data["boxes"]
            spacing = tuple(float(v) for v in data["spacing"]) if "spacing" in names else (1.0, 1.0, 1.0)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as exc:
        raise ReadError(f"cannot read {source} as a challenge file (npz without pickled objects): {exc}") from exc
    if image.ndim not in (2, 3) or boxes.ndim != 2 or boxes.shape[1] not in (4, 6) or len(spacing) != 3:
        raise ReadError(
            f"cannot read {source}: imgs of shape {image.shape} and boxes of shape {boxes.shape} do not fit"
        )
    flat = boxes.shape[1] == 4
    array = image[None] if flat else image
    geometry = Geometry((array.shape[0], array.shape[1], array.shape[2]), (spacing[0], spacing[1], spacing[2]))
    return Volume.from_array(array, geometry), tuple(_challenge_box(row, flat) for row in boxes.tolist())


def _challenge_box(row: Sequence[float], flat: bool) -> Box:
    x0, y0, z0, x1, y1, z1 = (row[0], row[1], 0, row[2], row[3], 0) if flat else row
    return Box(voxel=((z0, y0, x0), (z1 + 1, y1 + 1, x1 + 1)))
