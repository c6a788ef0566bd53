"""A NIfTI image whose affine is sheared, as a stack of slices that can be resampled onto a regular grid.

A tilted gantry gives such files: two axes stay perpendicular, the third leans. Slices across the leaning axis are kept
as they are; only their places differ from a rectangular stack. An affine of which no two axes are perpendicular has no
such slices and is refused.
"""

from __future__ import annotations

import gzip
import struct
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.slices import SliceSet, plan_slices
from promptseg.errors import ReadError
from promptseg.io.itk import read_itk
from promptseg.io.nifti import MAX_SHEAR_DEGREES, NiftiHeader, read_nifti_header, require_voxels, shear_degrees
from promptseg.io.sniff import Family, sniff

__all__ = ["ShearedStack", "is_sheared", "read_sheared"]

CODES = {348: (252, "2h"), 540: (344, "2i")}  # offset and form of qform_code and sform_code by sizeof_hdr (nifti1/2.h)


@dataclass(frozen=True)
class ShearedStack:
    """Slices (n, rows, columns) across the leaning axis, sorted along their normal, and where they lie."""

    array: NDArray[Any]
    slices: SliceSet
    degrees: float


def read_sheared(path: Path, *, frame: int | None = None) -> ShearedStack | None:
    """Read a NIfTI file whose frame in use is sheared.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        frame: which frame of a 4D file.

    Returns:
        None where the file has a rectangular frame, which then counts.

    Raises:
        ReadError: damaged, of two files, of colours, or no two axes are perpendicular.
    """
    header = read_nifti_header(path)
    if not _only_sheared(header):
        return None
    if header.pair:
        raise ReadError(f"cannot resample {path}: expected one .nii or .nii.gz file, got a pair; convert it first")
    require_voxels(path, header)
    array = _voxels(path, header.order, frame)
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


def _voxels(path: Path, order: str, frame: int | None) -> NDArray[Any]:
    """Return the voxels (z, y, x), read by ITK from a copy that has no frame: with the frame ITK refuses the file."""
    try:
        data = bytearray(path.read_bytes())
        if data[:2] == b"\x1f\x8b":
            data = bytearray(gzip.decompress(bytes(data)))
    except (OSError, EOFError, zlib.error) as exc:
        raise ReadError(f"cannot read {path}: the file is damaged or cut short") from exc
    offset, form = CODES[struct.unpack_from(order + "i", data)[0]]
    struct.pack_into(order + form, data, offset, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "voxels.nii"
        copy.write_bytes(data)
        try:
            return read_itk(copy, Family.NIFTI, frame=frame).array
        except ReadError as exc:
            raise ReadError(f"cannot read {path}: the file is damaged or of an unsupported kind") from exc
