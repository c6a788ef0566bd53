"""GIPL (.gipl, .gipl.gz), which ITK-SNAP writes: a fixed header of 256 bytes, then the voxels.

Layout: Guy's Image Processing Lab format, as in ITK's GIPLImageIO, which writes big-endian and one frame.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from promptseg.check.finding import Finding, Severity
from promptseg.errors import ReadError
from promptseg.io.frames import check_frame, frame_finding
from promptseg.io.itk import RawImage, geometry_from_itk
from promptseg.io.sniff import GIPL_MAGICS
from promptseg.io.text_header import missing_geometry
from promptseg.io.voxel_bytes import Stretch, is_gzipped, read_voxel_bytes

__all__ = ["GiplHeader", "read_gipl", "read_gipl_header"]

HEADER_BYTES, MAGIC_AT = 256, 252
# image type: type of a voxel; 1 is a mask of one byte each
TYPES = {1: "u1", 7: "i1", 8: "u1", 15: "i2", 16: "u2", 31: "u4", 32: "i4", 64: "f4", 65: "f8"}
COMPLEX = (144, 160, 192, 193)


@dataclass(frozen=True)
class GiplHeader:
    """The fields that count.

    Attributes:
        sizes: x, y, z, frames. dtype: of a voxel, in the file's byte order.
        spacing, origin: x, y, z in mm as stored.
        turned: the header holds a matrix, which no reader known here uses.
    """

    sizes: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    turned: bool


def read_gipl(path: Path, *, frame: int | None = None) -> RawImage:
    """Read one 3D frame. The format has a place but no orientation: axes are taken as LPS, as ITK does, and it is said.

    Raises:
        ReadError: damaged, cut short, values that need a scale, or a voxel type that is unknown.
    """
    header = read_gipl_header(path)
    *spatial, frames = header.sizes
    index, count = check_frame(frame, frames, path), prod(spatial)
    place = Stretch(path, _encoding(path), skip=HEADER_BYTES + index * count * header.dtype.itemsize)
    array = read_voxel_bytes(place, header.dtype, count).reshape(spatial[::-1])
    array = array.astype(header.dtype.newbyteorder("="), copy=False)
    findings = [frame_finding(frames)] if frames > 1 and frame is None else []
    stated = all(length > 0 for length in header.spacing[: 3 if spatial[2] > 1 else 2])
    spacing = tuple(length if stated and length > 0 else 1.0 for length in header.spacing)
    findings += missing_geometry("GIPL", stated, axes=False)
    if header.turned:
        sentence = "the GIPL header holds a matrix, whose meaning differs from program to program: it was not used"
        findings.append(Finding(sentence, "matrix-ignored", Severity.WARNING, "not used"))
    geometry = geometry_from_itk(array.shape, spacing, header.origin, np.eye(3).ravel().tolist(), what=str(path))
    return RawImage(array, geometry, findings)


def read_gipl_header(path: Path) -> GiplHeader:
    """Read the header.

    Raises:
        ReadError: damaged, values that need a scale, or a voxel type that is unknown.
    """
    head = read_voxel_bytes(Stretch(path, _encoding(path)), np.dtype(np.uint8), HEADER_BYTES).tobytes()
    order = ">" if struct.unpack_from(">I", head, MAGIC_AT)[0] in GIPL_MAGICS else "<"
    *sizes, kind = struct.unpack_from(order + "5H", head)
    spacing, origin = struct.unpack_from(order + "3f", head, 10), struct.unpack_from(order + "3d", head, 204)
    matrix, scale = struct.unpack_from(order + "20f", head, 106), struct.unpack_from(order + "2f", head, 236)
    x, y, z, frames = sizes
    if kind in COMPLEX:
        raise ReadError(f"cannot read {path}: its pixels are complex numbers; take the magnitude first")
    if x < 1 or y < 1 or kind not in TYPES:
        raise ReadError(f"cannot read {path}: its header gives sizes {tuple(sizes)} and voxel type {kind}")
    if not np.isfinite([*spacing, *origin]).all() or min(spacing) < 0:
        raise ReadError(f"cannot read {path}: its header gives voxel sizes {spacing} and an origin {origin}")
    if scale not in ((0, 0), (0, 1)):
        raise ReadError(
            f"cannot read {path}: its header scales values by {scale[1]:g} from {scale[0]:g}, which programs read in "
            "different ways; save it as NIfTI in the program that wrote it"
        )
    turned = any(matrix) and list(matrix) != [float(k % 5 == 0) for k in range(20)]
    return GiplHeader((x, y, max(z, 1), max(frames, 1)), np.dtype(order + TYPES[kind]), spacing, origin, turned)


def _encoding(path: Path) -> str:
    return "gzip" if is_gzipped(path) else "raw"
