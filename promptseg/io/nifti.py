"""NIfTI-1, NIfTI-2 and Analyze headers. https://nifti.nimh.nih.gov/nifti-1 and nifti2.h."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ReadError
from promptseg.io.voxel_bytes import Stretch, is_gzipped, read_voxel_bytes

__all__ = ["NiftiHeader", "read_nifti_header"]

UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # nifti1.h NIFTI_UNITS_*: unknown, metre, millimetre, micron
# nifti1.h DT_*: bits per voxel of each code that can be read
BITS = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64, 2304: 32}
COMPLEX = (32, 1792, 2048)
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SMALLEST_QUATERNION = 1e-7  # nifti1_io.c: below this a half turn is meant, and b, c, d are made unit length


@dataclass(frozen=True)
class NiftiHeader:
    """The fields that place and scale the voxels.

    Attributes:
        shape: sizes as stored (x, y, z, t, ...).
        kind: datatype code. offset: of the first voxel in the data file, bytes.
        order: "<" for little-endian, ">" for big-endian.
        pair: True where voxels lie in a separate ``.img``. analyze: True for Analyze 7.5, which has no orientation.
        pixdim: x, y, z lengths in mm as stored; a negative or missing one too.
        codes: qform_code and sform_code.
        qform, sform: 4x4 voxel (x, y, z) to LPS mm, None where its code is 0.
        slope, inter: scl_slope and scl_inter.
    """

    shape: tuple[int, ...]
    kind: int
    offset: int
    order: str
    pair: bool
    analyze: bool
    pixdim: tuple[float, float, float]
    codes: tuple[int, int]
    qform: NDArray[np.float64] | None
    sform: NDArray[np.float64] | None
    slope: float
    inter: float


@dataclass(frozen=True)
class _Layout:
    """Byte offsets and ``struct`` forms of the fields, of nifti1.h or nifti2.h."""

    size: int
    dim: tuple[int, str]
    pixdim: tuple[int, str]
    kind: tuple[int, str]
    offset: tuple[int, str]
    magic: int
    codes: tuple[int, str]
    quaternion: tuple[int, str]
    rows: tuple[int, str]
    units: tuple[int, str]
    scale: tuple[int, str]


ONE = _Layout(348, (40, "8h"), (76, "8f"), (70, "2h"), (108, "f"), 344, (252, "2h"), (256, "6f"), (280, "12f"),
              (123, "B"), (112, "2f"))  # fmt: skip
TWO = _Layout(540, (16, "8q"), (104, "8d"), (12, "2h"), (168, "q"), 4, (344, "2i"), (352, "6d"), (400, "12d"),
              (500, "i"), (176, "2d"))  # fmt: skip


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read the header.

    Raises:
        ReadError: cut short, impossible sizes, or a voxel type that is unknown or complex.
    """
    raw = _bytes(path, ONE.size)
    order = "<" if raw[:4] in (b"\x5c\x01\x00\x00", b"\x1c\x02\x00\x00") else ">"
    layout = TWO if struct.unpack(order + "i", raw[:4])[0] == TWO.size else ONE
    if layout is TWO:
        raw = _bytes(path, TWO.size)
    header, bits = _header(raw, order, layout)
    if not 1 <= len(header.shape) <= 7 or min(header.shape, default=0) < 1:
        raise ReadError(f"cannot read {path}: its header gives impossible sizes {header.shape}")
    if header.kind in COMPLEX:
        raise ReadError(f"cannot read {path}: its pixels are complex numbers; take the magnitude first")
    if BITS.get(header.kind) != bits:
        raise ReadError(f"cannot read {path}: its header gives an unknown voxel type (code {header.kind}, {bits} bits)")
    if header.offset < 0:
        raise ReadError(f"cannot read {path}: its header gives an impossible place of the voxels")
    for name, matrix in (("qform", header.qform), ("sform", header.sform)):
        if matrix is not None and not np.isfinite(matrix).all():
            raise ReadError(
                f"cannot read {path}: its {name} holds numbers that are not finite, so it places the image nowhere; "
                f"correct it, or set {name}_code to 0 in the header"
            )
    return header


def _bytes(path: Path, count: int) -> bytes:
    place = Stretch(path, "gzip" if is_gzipped(path) else "raw")
    try:
        return read_voxel_bytes(place, np.dtype(np.uint8), count).tobytes()
    except ReadError as exc:
        raise ReadError(f"cannot read {path}: its header is cut short, or the file is damaged") from exc


@np.errstate(all="ignore")  # damaged headers hold numbers that overflow; they are found out later
def _header(raw: bytes, order: str, layout: _Layout) -> tuple[NiftiHeader, int]:
    """Return the header and its bits per voxel."""

    def field(place: tuple[int, str]) -> tuple[float, ...]:
        return struct.unpack_from(order + place[1], raw, place[0])

    magic = raw[layout.magic : layout.magic + 3]
    analyze = magic not in (b"n+1", b"ni1", b"n+2", b"ni2")
    codes = (0, 0) if analyze else (int(field(layout.codes)[0]), int(field(layout.codes)[1]))
    scale = 1.0 if analyze else UNIT_MM.get(int(field(layout.units)[0]) & 7, 1.0)
    dim, pixdim = field(layout.dim), field(layout.pixdim)
    count = int(dim[0]) if 0 < dim[0] <= 7 else 0
    offset = field(layout.offset)[0]
    sform = np.vstack([np.reshape(field(layout.rows), (3, 4)) * scale, [0, 0, 0, 1]])
    slope, inter = (1.0, 0.0) if analyze else field(layout.scale)
    kind, bits = field(layout.kind)
    header = NiftiHeader(
        shape=tuple(int(n) for n in dim[1 : 1 + count]),
        kind=int(kind),
        offset=int(offset) if np.isfinite(offset) else -1,
        order=order,
        pair=analyze or magic in (b"ni1", b"ni2"),
        analyze=analyze,
        pixdim=(pixdim[1] * scale, pixdim[2] * scale, pixdim[3] * scale),
        codes=codes,
        qform=_qform(field(layout.quaternion), pixdim, count, scale) if codes[0] > 0 else None,
        sform=RAS_TO_LPS @ _with_depth(sform, count) if codes[1] > 0 else None,
        slope=float(slope),
        inter=float(inter),
    )
    return header, int(bits)


def _qform(quaternion: tuple[float, ...], pixdim: tuple[float, ...], axes: int, scale: float) -> NDArray[np.float64]:
    """Return the matrix of nifti1.h's METHOD 2, in LPS mm; lengths are taken without their sign."""
    b, c, d = quaternion[:3]
    squares = b * b + c * c + d * d
    a = float(np.sqrt(max(0.0, 1.0 - squares)))
    if 1.0 - squares < SMALLEST_QUATERNION and np.isfinite(squares):
        a, (b, c, d) = 0.0, (value / squares**0.5 for value in (b, c, d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    lengths = np.abs(np.array(pixdim[1:4]))
    if axes < 3 and not lengths[2] > 0:  # of a single slice, which need not be stated
        lengths[2] = 1.0 / scale
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * lengths * [1, 1, -1 if pixdim[0] < 0 else 1] * scale
    matrix[:3, 3] = np.array(quaternion[3:]) * scale
    return np.asarray(RAS_TO_LPS @ matrix)


def _with_depth(matrix: NDArray[np.float64], axes: int) -> NDArray[np.float64]:
    """Return the matrix of a single slice with a third column of 1 mm where it has none."""
    if axes < 3 and not matrix[:3, 2].any():
        normal = np.cross(matrix[:3, 0], matrix[:3, 1])
        matrix[:3, 2] = normal / max(float(np.linalg.norm(normal)), np.finfo(float).tiny)
    return matrix
