"""NIfTI and Analyze headers, read before ITK does: ITK picks one of two frames and is silent when they disagree."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.errors import GeometryError, ReadError
from promptseg.io.nifti_voxels import NotNumbers, scan_voxels
from promptseg.volume.geometry import Geometry

__all__ = [
    "NiftiHeader",
    "nifti_findings",
    "read_nifti_header",
    "require_voxels",
    "shear_degrees",
    "single_slice_geometry",
]

UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # nifti1.h NIFTI_UNITS_*: unknown, metre, millimetre, micron
# nifti1.h DT_*: bits per voxel of each code that can be read
BITS = {2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64, 2304: 32}
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
CONFLICT_VOXELS = 0.1  # qform and sform further apart than this (at a corner) are two different places
MAX_SHEAR_DEGREES = 0.06  # float32 cosines and quaternions stay far below


@dataclass(frozen=True)
class NiftiHeader:
    """The fields that place the voxels.

    Attributes:
        shape: sizes as stored (x, y, z, t, ...).
        kind: datatype code. bits: per voxel. offset: of the first voxel in the data file, bytes.
        order: "<" for little-endian, ">" for big-endian.
        pair: True where voxels lie in a separate ``.img``. analyze: True for Analyze 7.5, which has no orientation.
        qform, sform: 4x4 voxel (x, y, z) to LPS mm, None where its code is 0.
    """

    shape: tuple[int, ...]
    kind: int
    bits: int
    offset: int
    order: str
    pair: bool
    analyze: bool
    qform: NDArray[np.float64] | None
    sform: NDArray[np.float64] | None


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read the header.

    Raises:
        ReadError: cut short, impossible sizes, or an unknown voxel type.
    """
    raw = _bytes(path, 540)
    order = "<" if raw[:4] in (b"\x5c\x01\x00\x00", b"\x1c\x02\x00\x00") else ">"
    two = struct.unpack(order + "i", raw[:4])[0] == 540
    if len(raw) < (540 if two else 348):
        raise ReadError(f"cannot read {path}: its header is cut short ({len(raw)} bytes)")
    header = replace(_nifti2(raw, order) if two else _nifti1(raw, order), order=order)
    if not 1 <= len(header.shape) <= 7 or min(header.shape, default=0) < 1:
        raise ReadError(f"cannot read {path}: its header gives impossible sizes {header.shape}")
    if BITS.get(header.kind) != header.bits:
        raise ReadError(
            f"cannot read {path}: its header gives an unknown voxel type (code {header.kind}, {header.bits} bits)"
        )
    for name, matrix in (("qform", header.qform), ("sform", header.sform)):
        if matrix is not None and not np.isfinite(matrix).all():
            raise ReadError(
                f"cannot read {path}: its {name} holds numbers that are not finite, so it places the image nowhere; "
                f"correct it, or set {name}_code to 0 in the header"
            )
    return header


def _bytes(path: Path, count: int) -> bytes:
    try:
        if _gzipped(path):
            with gzip.open(path, "rb") as file:
                return file.read(count)
        with path.open("rb") as file:
            return file.read(count)
    except (OSError, EOFError, zlib.error) as exc:
        raise ReadError(f"cannot read {path}: the file is damaged or cut short") from exc


def _gzipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _nifti1(raw: bytes, order: str) -> NiftiHeader:
    """Decode by the offsets of nifti1.h."""
    dim = struct.unpack_from(order + "8h", raw, 40)
    pixdim = struct.unpack_from(order + "8f", raw, 76)
    magic = raw[344:347]
    codes = struct.unpack_from(order + "2h", raw, 252)
    quaternion = struct.unpack_from(order + "6f", raw, 256)
    rows = struct.unpack_from(order + "12f", raw, 280)
    return _header(
        dim,
        pixdim,
        struct.unpack_from(order + "2h", raw, 70),
        struct.unpack_from(order + "f", raw, 108)[0],
        magic,
        (codes, quaternion, rows, raw[123]),
    )


def _nifti2(raw: bytes, order: str) -> NiftiHeader:
    """Decode by the offsets of nifti2.h."""
    return _header(
        struct.unpack_from(order + "8q", raw, 16),
        struct.unpack_from(order + "8d", raw, 104),
        struct.unpack_from(order + "2h", raw, 12),
        struct.unpack_from(order + "q", raw, 168)[0],
        raw[4:7],
        (
            struct.unpack_from(order + "2i", raw, 344),
            struct.unpack_from(order + "6d", raw, 352),
            struct.unpack_from(order + "12d", raw, 400),
            struct.unpack_from(order + "i", raw, 500)[0],
        ),
    )


Placement = tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...], int]


@np.errstate(all="ignore")  # see nifti_findings
def _header(
    dim: tuple[int, ...],
    pixdim: tuple[float, ...],
    kind_bits: tuple[int, ...],
    offset: float,
    magic: bytes,
    place: Placement,
) -> NiftiHeader:
    codes, quaternion, rows, units = place
    analyze = magic not in (b"n+1", b"ni1", b"n+2", b"ni2")
    scale = UNIT_MM.get(units & 7, 1.0)
    qform = sform = None
    if not analyze and codes[0] > 0:
        qform = _qform(quaternion, pixdim, scale)
    if not analyze and codes[1] > 0:
        matrix = np.vstack([np.reshape(rows, (3, 4)), [0, 0, 0, 1]])
        matrix[:3] *= scale
        sform = RAS_TO_LPS @ matrix
    ndim = dim[0] if 0 < dim[0] <= 7 else 0
    return NiftiHeader(
        shape=tuple(dim[1 : 1 + ndim]),
        kind=kind_bits[0],
        bits=kind_bits[1],
        offset=int(offset) if np.isfinite(offset) else -1,
        order="<",
        pair=analyze or magic in (b"ni1", b"ni2"),
        analyze=analyze,
        qform=qform,
        sform=sform,
    )


def _qform(quaternion: tuple[float, ...], pixdim: tuple[float, ...], scale: float) -> NDArray[np.float64]:
    """Return the matrix of nifti1.h's METHOD 2, in LPS mm."""
    b, c, d = quaternion[:3]
    a = float(np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d))))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    spacing = np.array(pixdim[1:4]) * [1, 1, -1 if pixdim[0] < 0 else 1]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * spacing * scale
    matrix[:3, 3] = np.array(quaternion[3:]) * scale
    return np.asarray(RAS_TO_LPS @ matrix)


def require_voxels(path: Path, header: NiftiHeader) -> NotNumbers | None:
    """Check that the voxels which the header promises are there; return where they are no numbers.

    Raises:
        ReadError: cut short, damaged, or the ``.img`` of a pair is missing.
    """
    data = path
    if header.pair and path.suffix.lower() == ".hdr":
        beside = [path.with_suffix(end) for end in (".img", ".IMG", ".img.gz")]
        found = next((file for file in beside if file.is_file()), None)
        if found is None:
            raise ReadError(
                f"cannot read {path}: its voxels should lie in {beside[0].name} beside it, which is missing"
            )
        data = found
    if header.offset < 0:
        raise ReadError(f"cannot read {path}: its header gives an impossible place of the voxels")
    length = int(np.prod(header.shape, dtype=object)) * header.bits // 8
    start = 0 if header.pair else header.offset
    return scan_voxels(data, start=start, length=length, kind=header.kind, order=header.order)


def single_slice_geometry(header: NiftiHeader, shape: tuple[int, int, int]) -> Geometry | None:
    """Return the frame of an image of one slice, or None where it has more or its header places it nowhere.

    ITK drops the third axis of such a file in some layouts (colours), and with it the depth and the place along it.
    """
    matrix = header.sform if header.sform is not None else header.qform
    if shape[0] != 1 or matrix is None or shear_degrees(matrix) > MAX_SHEAR_DEGREES:
        return None
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    axes = matrix[:3, :3] / spacing
    try:
        return Geometry(shape, tuple(spacing.tolist()), tuple(matrix[:3, 3].tolist()), tuple(axes.ravel().tolist()))
    except GeometryError:
        return None


@np.errstate(all="ignore")  # damaged headers hold numbers that overflow; they are found out below
def nifti_findings(header: NiftiHeader, geometry: Geometry, path: Path) -> list[Finding]:
    """Return sentences about the header's two frames, given the geometry that ITK took from it.

    Raises:
        ReadError: the frame taken is neither of them.
    """
    if header.analyze:
        sentence = "Analyze 7.5 stores no orientation: left and right cannot be told, axes were taken as they lie"
        return [Finding(sentence, "no-orientation", Severity.WARNING, "assumed")]
    if header.qform is None and header.sform is None:
        sentence = "the NIfTI file stores no orientation (qform and sform codes are 0): left and right cannot be told"
        return [Finding(sentence, "no-orientation", Severity.WARNING, "assumed")]
    findings = []
    distances = {}
    for name, matrix in (("sform", header.sform), ("qform", header.qform)):
        if matrix is None:
            continue
        shear = shear_degrees(matrix)
        if shear > MAX_SHEAR_DEGREES:
            sentence = f"its {name} is sheared by {shear:.1f} degrees and was not used"
            findings.append(Finding(sentence, "sheared-form", Severity.WARNING, "not used"))
        distances[name] = _corner_distance(matrix, geometry)
    used = min(distances, key=distances.__getitem__)
    limit = CONFLICT_VOXELS * min(geometry.spacing)
    if distances[used] > limit:
        raise ReadError(
            f"cannot read {path}: neither qform nor sform gives a rectangular grid (corners differ by "
            f"{distances[used]:.1f} mm); `promptseg check {path.name} --fix OUT` resamples it onto a regular grid"
        )
    other = max(distances, key=distances.__getitem__)
    if distances[other] > limit:
        sentence = (
            f"qform and sform disagree by up to {distances[other]:.1f} mm at the corners; the {used} was used: "
            "check the place of the result in another viewer"
        )
        findings.append(Finding(sentence, "qform-sform-conflict", Severity.WARNING, f"{used} used"))
    return findings


def shear_degrees(matrix: NDArray[np.float64]) -> float:
    """Return by how much the axes of a 4x4 matrix depart from right angles; 90 where one has no length."""
    axes = matrix[:3, :3]
    norms = np.linalg.norm(axes, axis=0)
    if norms.min() == 0 or not np.all(np.isfinite(axes)):
        return 90.0
    unit = axes / norms
    cosine = float(np.abs((unit.T @ unit)[np.triu_indices(3, 1)]).max())
    return float(np.degrees(np.arcsin(min(1.0, cosine))))


def _corner_distance(matrix: NDArray[np.float64], geometry: Geometry) -> float:
    """Return the largest distance in mm between the grid's corners placed by ``matrix`` and by ``geometry``."""
    last = np.array(geometry.shape[::-1]) - 1
    index = np.array([[x, y, z] for x in (0, last[0]) for y in (0, last[1]) for z in (0, last[2])], dtype=np.float64)
    placed = index @ matrix[:3, :3].T + matrix[:3, 3]
    truth = index @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]
    distance = float(np.linalg.norm(placed - truth, axis=1).max())
    return distance if np.isfinite(distance) else float("inf")
