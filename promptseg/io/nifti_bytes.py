"""A grid as the bytes of an uncompressed NIfTI-1 file, for the viewer in the page and for protocols.

SimpleITK cannot write to memory, and writes colours as vectors; the viewer wants RGB24 and speed. The header's layout:
nifti1.h, https://nifti.nimh.nih.gov/nifti-1.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.volume import Geometry, Volume

__all__ = ["HEADER_BYTES", "display_array", "nifti_header"]

HEADER_BYTES = 352  # 348 and four bytes that say "no extension"
CODES = {"u1": (2, 8), "i2": (4, 16), "f4": (16, 32), "u2": (512, 16)}  # dtype to (datatype, bitpix)
RGB24 = (128, 24)
MM_AND_SECONDS = 10
SCANNER = 1  # the frame's meaning: scanner coordinates


def display_array(volume: Volume) -> NDArray[Any]:
    """Return the voxels in a type that viewers know: int16 where the values fit, uint8, float32, or uint8 RGB."""
    array = volume.array
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind in "iu" and int(array.min()) >= -32768 and int(array.max()) <= 32767:
        return np.ascontiguousarray(array, "<i2")
    return np.ascontiguousarray(array, "<f4")


def nifti_header(array: NDArray[Any], geometry: Geometry) -> bytes:
    """Return the 352 bytes that go before ``array.tobytes()``.

    Args:
        array: uint8, int16, uint16 or float32 (z, y, x), or uint8 RGB (z, y, x, 3); C order, little-endian. Voxel
            (i, j, k) of the file is (z, y, x) = (k, j, i) of the array.
        geometry: its frame; LPS becomes NIfTI's RAS here.
    """
    code, bits = RGB24 if array.ndim == 4 else CODES[array.dtype.str[1:]]
    z, y, x = geometry.shape
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry.affine
    head = bytearray(HEADER_BYTES)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, x, y, z, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, code, bits)
    struct.pack_into("<8f", head, 76, 1.0, *geometry.spacing, 0, 0, 0, 0)
    struct.pack_into("<3f", head, 108, float(HEADER_BYTES), 1.0, 0.0)  # where voxels start; slope and intercept
    head[123] = MM_AND_SECONDS
    struct.pack_into("<2h", head, 252, 0, SCANNER)  # no quaternion; the matrix below
    struct.pack_into("<12f", head, 280, *to_ras[:3].ravel())
    head[344:348] = b"n+1\0"
    return bytes(head)
