"""NRRD (.nrrd, .nhdr): voxels counted byte by byte; ITK tells where the grid lies.

ITK reads no bzip2 and no lists of volumes (a sequence of 3D Slicer), and hands out memory that nothing was written to
where a stream is damaged. So the voxels are read here, and ITK is shown a header of one 3D frame.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.errors import ReadError
from promptseg.io.frames import check_frame, frame_finding
from promptseg.io.itk import RawImage, read_itk_header
from promptseg.io.nrrd_header import NrrdHeader, read_nrrd_header
from promptseg.io.sniff import Family
from promptseg.io.text_header import missing_geometry, numbered_names, path_beside
from promptseg.io.voxel_bytes import Stretch, read_voxel_bytes
from promptseg.volume.geometry import Geometry

__all__ = ["read_nrrd"]

MM = {"": 1.0, "mm": 1.0, "cm": 10.0, "m": 1e3, "um": 1e-3, "\xb5m": 1e-3, "nm": 1e-6}
LONG_NAMES = {"millimet": "mm", "centimet": "cm", "met": "m", "micromet": "um", "micron": "um", "nanomet": "nm"}


def read_nrrd(path: Path, *, frame: int | None = None) -> RawImage:
    """Read one 3D frame.

    Raises:
        ReadError: damaged, cut short, files missing, or axes that are no image of one or more frames.
    """
    header = read_nrrd_header(path)
    frames = header.sizes[header.frames] if header.frames is not None else 1
    array = _voxels(path, header, check_frame(frame, frames, path))
    text, sizes = header.one_frame()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "header.nhdr"
        copy.write_bytes(text)
        (Path(folder) / "voxels.raw").touch()
        geometry, metadata = read_itk_header(copy, Family.NRRD, sizes, what=path)
    geometry, findings = _in_mm(geometry, header.world_units, path)
    if frames > 1 and frame is None:
        findings.append(frame_finding(frames))
    findings += missing_geometry("NRRD", header.has_spacing, header.has_axes)
    return RawImage(array, geometry, findings, metadata)


def _voxels(path: Path, header: NrrdHeader, frame: int) -> NDArray[Any]:
    """Return one frame as (z, y, x[, components]) in the machine's byte order."""
    sizes, axes = header.sizes[::-1], list(range(len(header.sizes)))[::-1]
    flat_frames = header.frames == axes[0]  # frames one behind the other: only the one that is asked for is read
    count = int(np.prod(sizes[1:] if flat_frames else sizes, dtype=object))
    array = _flat(path, header, frame * count if flat_frames else 0, count)
    if flat_frames:
        array, axes = array.reshape(sizes[1:]), axes[1:]
    else:
        array = array.reshape(sizes)
    if header.frames in axes:
        array = array.take(frame, axis=axes.index(header.frames))
        axes.remove(header.frames)
    if header.components is not None:
        array = np.moveaxis(array, axes.index(header.components), -1)
    if len(axes) - (header.components is not None) == 2:
        array = array[None]
    return np.ascontiguousarray(array, dtype=header.dtype.newbyteorder("="))


def _flat(path: Path, header: NrrdHeader, skip: int, count: int) -> NDArray[Any]:
    """Return ``count`` voxels behind the first ``skip``."""
    name, whole = header.value("datafile"), int(np.prod(header.sizes, dtype=object))
    if not name:
        return _one_file(path, header, header.end, whole, (skip, count))
    if not header.listed and "%" not in name:
        return _one_file(path_beside(path, name), header, 0, whole, (skip, count))
    words = name.split()
    files = [path_beside(path, entry) for entry in header.listed] or numbered_names(path, " ".join(words[:4]))
    depth = words[1:2] if header.listed else words[4:5]  # how many axes one file holds; all but the last by default
    held = int(depth[0]) if depth and depth[0].isdigit() else len(header.sizes) - 1
    wanted = int(np.prod(header.sizes[held:], dtype=object))
    if len(files) != wanted:
        raise ReadError(f"cannot read {path}: expected the names of {wanted} files with voxels, got {len(files)}")
    share = whole // wanted
    return np.concatenate([_one_file(file, header, 0, share, (0, share)) for file in files])[skip : skip + count]


def _one_file(data: Path, header: NrrdHeader, start: int, whole: int, part: tuple[int, int]) -> NDArray[Any]:
    """Return (first, count) of the ``whole`` voxels that a file holds from byte ``start`` on."""
    start += _length_of_lines(data, start, header.number("lineskip"))
    skip, count = part
    if header.encoding in ("text", "hex"):
        return read_voxel_bytes(Stretch(data, header.encoding, start), header.dtype, skip + count)[skip:]
    size = header.dtype.itemsize
    passed = header.number("byteskip")
    if passed == -1:  # the voxels are the end of the file
        passed = max(0, data.stat().st_size - start - whole * size) if header.encoding == "raw" else 0
    return read_voxel_bytes(Stretch(data, header.encoding, start, passed + skip * size), header.dtype, count)


def _length_of_lines(data: Path, start: int, lines: int) -> int:
    with data.open("rb") as file:
        file.seek(start)
        return sum(len(file.readline()) for _ in range(max(0, lines)))


def _in_mm(geometry: Geometry, units: tuple[str, ...], path: Path) -> tuple[Geometry, list[Finding]]:
    """Return the grid in mm where the header states another unit of length.

    Raises:
        ReadError: units that differ from axis to axis.
    """
    known = {_factor(unit) for unit in units[:3]}
    if not known or known == {1.0}:
        return geometry, []
    if len(known) > 1:
        raise ReadError(f"cannot read {path}: its axes have different units ({', '.join(units)}); expected mm for all")
    factor = known.pop()
    if factor is None:
        sentence = f"the header gives lengths in {units[0][:20]!r}, which is no known unit: mm were assumed"
        return geometry, [Finding(sentence, "unknown-unit", Severity.WARNING, "assumed")]
    x, y, z = (length * factor for length in geometry.spacing)
    a, b, c = (length * factor for length in geometry.origin)
    return Geometry(geometry.shape, (x, y, z), (a, b, c), geometry.direction), []


def _factor(unit: str) -> float | None:
    """Return how many mm a unit is, None where it is not known."""
    short = next((name for start, name in LONG_NAMES.items() if unit.startswith(start)), unit)
    return MM.get(short)
