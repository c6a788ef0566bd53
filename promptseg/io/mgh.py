"""FreeSurfer volumes (.mgh, .mgz): a fixed big-endian header, then the voxels.

Layout: https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from promptseg.check.finding import Finding, Severity
from promptseg.errors import ReadError
from promptseg.io.frames import check_frame, frame_finding
from promptseg.io.itk import RawImage, geometry_from_itk
from promptseg.io.voxel_bytes import Stretch, is_gzipped, read_voxel_bytes

__all__ = ["read_mgh", "read_mgh_shape"]

HEADER_BYTES = 284
DTYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
MAX_VOXELS = 2**33  # a header that claims more is damaged


def read_mgh(path: Path, *, frame: int | None = None) -> RawImage:
    """Read one volume.

    Args:
        path: the file, compressed or not.
        frame: which of several frames; None takes the first and says so.

    Raises:
        ReadError: damaged, cut short, or a voxel type that is unknown.
    """
    encoding = "gzip" if is_gzipped(path) else "raw"
    shape, kind, good, numbers = _header(_head(path, encoding), path)
    index = check_frame(frame, shape[3], path)
    dtype = np.dtype(DTYPES[kind])
    voxels = shape[0] * shape[1] * shape[2]
    place = Stretch(path, encoding, skip=HEADER_BYTES + index * voxels * dtype.itemsize)
    array = read_voxel_bytes(place, dtype, voxels).reshape(shape[2], shape[1], shape[0])
    array = array.astype(dtype.newbyteorder("="), copy=False)
    findings = [frame_finding(shape[3])] if shape[3] > 1 and frame is None else []
    if not good:
        numbers = (1.0, 1.0, 1.0, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0, 0)  # the format's own default: coronal, 1 mm
        sentence = "the file stores no orientation; the format's default (coronal, 1 mm) was taken"
        findings.append(Finding(sentence, "assumed-orientation", Severity.WARNING, "assumed"))
    spacing = numbers[:3]
    ras = np.reshape(numbers[3:12], (3, 3)).T  # stored column by column: x, y, z axes in RAS
    center = np.array(numbers[12:15])
    origin = center - (ras * spacing) @ (np.array(shape[:3]) / 2)
    flip = np.diag([-1.0, -1.0, 1.0])  # RAS to LPS
    axes = (flip @ ras).ravel().tolist()
    geometry = geometry_from_itk(array.shape, spacing, (flip @ origin).tolist(), axes, what=str(path))
    return RawImage(array, geometry, findings)


def read_mgh_shape(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return (x, y, z, frames) and the type of a voxel.

    Raises:
        ReadError: damaged.
    """
    shape, kind, _, _ = _header(_head(path, "gzip" if is_gzipped(path) else "raw"), path)
    return shape, np.dtype(DTYPES[kind])


def _head(path: Path, encoding: str) -> bytes:
    return read_voxel_bytes(Stretch(path, encoding), np.dtype(np.uint8), HEADER_BYTES).tobytes()


def _header(head: bytes, path: Path) -> tuple[tuple[int, ...], int, bool, tuple[float, ...]]:
    _, *shape, kind, _dof = struct.unpack_from(">7i", head)
    good = struct.unpack_from(">h", head, 28)[0] > 0  # as FreeSurfer's own reader asks
    numbers = struct.unpack_from(">15f", head, 30)
    if good and not np.isfinite(numbers).all():
        raise ReadError(f"cannot read {path}: its header gives a voxel size or a place that is no number")
    if min(shape) < 1 or np.prod(shape, dtype=object) > MAX_VOXELS or kind not in DTYPES:
        raise ReadError(f"cannot read {path}: its header gives sizes {tuple(shape)} and voxel type {kind}")
    return tuple(shape), kind, good, numbers
