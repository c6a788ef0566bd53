"""A NIfTI image whose affine is sheared, as a stack of slices that can be resampled onto a regular grid.

A tilted gantry gives such files: two axes stay perpendicular, the third leans. Slices across the leaning axis are kept
as they are; only their places differ from a rectangular stack. An affine of which no two axes are perpendicular has no
such slices and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.slices import SliceSet, plan_slices
from promptseg.errors import ReadError
from promptseg.io.nifti import NiftiHeader, read_nifti_header
from promptseg.io.nifti_place import MAX_SHEAR_DEGREES, shear_degrees
from promptseg.io.nifti_voxels import read_nifti_voxels
from promptseg.io.sniff import Family, sniff

__all__ = ["ShearedStack", "is_sheared", "read_sheared"]


@dataclass(frozen=True)
class ShearedStack:
    """Slices (n, rows, columns) across the leaning axis, sorted along their normal, and where they lie."""

    array: NDArray[Any]
    slices: SliceSet
    degrees: float


def read_sheared(path: Path, *, frame: int | None = None) -> ShearedStack | None:
    """Read a NIfTI file whose frame in use is sheared.

    Args:
        path: ``.nii``, ``.nii.gz``, or the header of a pair.
        frame: which frame of a 4D file.

    Returns:
        None where the file has a rectangular frame, which then counts.

    Raises:
        ReadError: damaged, of colours, or no two axes are perpendicular.
    """
    header = read_nifti_header(path)
    if not _only_sheared(header):
        return None
    array, _ = read_nifti_voxels(path, header, frame)
    if array.ndim != 3 or min(array.shape) < 2:
        raise ReadError(f"cannot resample {path}: expected grey voxels in at least two slices, got {array.shape}")
    matrix = next(form for form in (header.sform, header.qform) if form is not None)
    leaning = _leaning_axis(matrix, path)
    stack = np.moveaxis(array, 2 - leaning, 0)
    column, row = sorted({0, 1, 2} - {leaning})  # of x, y, z; the one that is nearer to x runs along a row
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    unit = matrix[:3, :3] / lengths
    normal = np.cross(unit[:, column], unit[:, row])
    places = matrix[:3, 3] + np.outer(np.arange(len(stack)), matrix[:3, leaning])
    order = np.argsort(places @ normal)
    planned = plan_slices(
        places[order],
        (unit[:, column], unit[:, row], normal),
        (stack.shape[1], stack.shape[2]),
        (float(lengths[row]), float(lengths[column])),
        numbers=[int(index) + 1 for index in order],
    )
    return ShearedStack(stack[order], planned, shear_degrees(matrix))


def is_sheared(path: Path) -> bool:
    """Return True for a NIfTI file without a rectangular frame.

    Raises:
        ReadError: as ``read_nifti_header``.
    """
    return sniff(path) is Family.NIFTI and _only_sheared(read_nifti_header(path))


def _only_sheared(header: NiftiHeader) -> bool:
    known = [matrix for matrix in (header.sform, header.qform) if matrix is not None]
    return bool(known) and all(shear_degrees(matrix) > MAX_SHEAR_DEGREES for matrix in known)


def _leaning_axis(matrix: NDArray[np.float64], path: Path) -> int:
    """Return the axis (0: x, 1: y, 2: z) whose two others are perpendicular; the last one where several are.

    Raises:
        ReadError: there is none.
    """
    for leaning in (2, 1, 0):
        others = np.delete(matrix[:3, :3], leaning, axis=1)
        unit = others / np.linalg.norm(others, axis=0)
        if abs(float(unit[:, 0] @ unit[:, 1])) <= np.sin(np.radians(MAX_SHEAR_DEGREES)):
            return leaning
    raise ReadError(
        f"cannot resample {path}: no two of its axes are perpendicular, so it holds no slices that could be kept; "
        "resample it with the program that made it"
    )
