"""The voxels of a NIfTI or Analyze file: one 3D frame, counted, scaled as its header says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding
from promptseg.errors import ReadError
from promptseg.io.frames import check_frame, frame_finding
from promptseg.io.itk import RawImage
from promptseg.io.nifti import NiftiHeader, read_nifti_header
from promptseg.io.nifti_place import place_of
from promptseg.io.voxel_bytes import Stretch, is_gzipped, read_voxel_bytes

__all__ = ["read_nifti", "read_nifti_voxels"]

# nifti1.h DT_*: type of one component, and how many a voxel has (RGB24, RGBA32)
TYPES = {2: ("u1", 1), 4: ("i2", 1), 8: ("i4", 1), 16: ("f4", 1), 64: ("f8", 1), 128: ("u1", 3), 256: ("i1", 1),
         512: ("u2", 1), 768: ("u4", 1), 1024: ("i8", 1), 1280: ("u8", 1), 2304: ("u1", 4)}  # fmt: skip


def read_nifti(path: Path, *, frame: int | None = None) -> RawImage:
    """Read one 3D frame with its place.

    Raises:
        ReadError: damaged, cut short, the ``.img`` of a pair is missing, or no frame is a rectangular grid.
    """
    header = read_nifti_header(path)
    geometry, findings = place_of(header, path)
    array, told = read_nifti_voxels(path, header, frame)
    return RawImage(array, geometry, [*told, *findings])


def read_nifti_voxels(path: Path, header: NiftiHeader, frame: int | None) -> tuple[NDArray[Any], list[Finding]]:
    """Return (z, y, x), or (z, y, x, components) of colours and of the fifth dimension, and what was left out.

    Raises:
        ReadError: as ``read_nifti``, or more dimensions than that.
    """
    x, y, z, times, vector, *more = (*header.shape, 1, 1, 1, 1, 1, 1)[:7]
    if more != [1, 1] or (vector > 1 and times > 1):
        sizes = " x ".join(str(n) for n in header.shape)
        raise ReadError(
            f"cannot read {path}: it has {len(header.shape)} dimensions ({sizes}); expected 2, 3 or 4 dimensions"
        )
    code, colours = TYPES[header.kind]
    index = check_frame(frame, times, path)
    data = _data_file(path, header)
    dtype = np.dtype(header.order + code)
    count = x * y * z * vector * colours
    place = Stretch(
        data,
        "gzip" if is_gzipped(data) else "raw",
        skip=header.offset + index * count * dtype.itemsize,
    )
    flat = read_voxel_bytes(place, dtype, count)
    array = flat.astype(dtype.newbyteorder("="), copy=False).reshape(vector, z, y, x, colours)
    array = np.moveaxis(array, 0, -2).reshape(z, y, x, vector * colours)
    array = array[..., 0] if vector * colours == 1 else np.ascontiguousarray(array)
    findings = [frame_finding(times)] if times > 1 and frame is None else []
    return (array if colours > 1 else _scaled(array, header)), findings


def _data_file(path: Path, header: NiftiHeader) -> Path:
    """Return the file that holds the voxels.

    Raises:
        ReadError: the ``.img`` of a pair is missing.
    """
    if not header.pair or not path.name.lower().endswith((".hdr", ".hdr.gz")):
        return path
    stem = path.name[: path.name.lower().rindex(".hdr")]
    beside = [path.with_name(stem + end) for end in (".img", ".IMG", ".img.gz")]
    found = next((file for file in beside if file.is_file()), None)
    if found is None:
        raise ReadError(f"cannot read {path}: its voxels should lie in {beside[0].name} beside it, which is missing")
    return found


def _scaled(array: NDArray[Any], header: NiftiHeader) -> NDArray[Any]:
    """Return slope * value + inter in floating point; a slope of 0, or one that is no number, means none (nifti1.h)."""
    slope, inter = header.slope, header.inter
    if not np.isfinite([slope, inter]).all() or slope == 0 or (slope, inter) == (1, 0):
        return array
    wide = array.dtype.itemsize > 4 or (array.dtype.kind in "iu" and array.dtype.itemsize == 4)
    wide = wide or not _fits_float32(array, slope, inter)
    values: NDArray[Any] = array.astype(np.float64 if wide else np.float32)
    values *= slope
    values += inter
    return values


def _fits_float32(array: NDArray[Any], slope: float, inter: float) -> bool:
    """Return True where scaled values neither leave float32's range nor fall between two of its numbers."""
    known = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    ends = np.array([float(known.min()), float(known.max())]) * slope + inter if known.size else np.zeros(2)
    largest, limits = max(float(np.abs(ends).max()), abs(inter)), np.finfo(np.float32)
    if array.dtype.kind == "f":
        return largest == 0 or float(limits.tiny) < largest < float(limits.max)
    return largest < float(limits.max) and abs(slope) > max(float(limits.tiny), largest * float(limits.eps))
