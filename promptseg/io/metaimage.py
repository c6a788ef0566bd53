"""MetaImage (.mha, .mhd): the header's words, voxels counted byte by byte.

ITK's own reader stops at a line that it does not understand, takes what it has not read yet for its default (no
rotation, an origin of 0), and says nothing; so the place is taken from the header's words here.

Fields: https://github.com/Kitware/MetaIO, MetaIO documentation; sizes of element types as in its metaTypes.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding
from promptseg.errors import ReadError
from promptseg.io.frames import check_frame, frame_finding
from promptseg.io.itk import RawImage, geometry_from_itk
from promptseg.io.text_header import missing_geometry, numbered_names, path_beside
from promptseg.io.voxel_bytes import Stretch, read_voxel_bytes
from promptseg.volume.geometry import Geometry

__all__ = ["MetaHeader", "read_metaimage", "read_metaimage_header"]

HEADER_BYTES = 65_536
TYPES = {
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4",
    "ULONG": "u4", "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip
# Names of one field, as MetaIO looks for them
SPACING = ("elementspacing", "elementsize")
AXES = ("transformmatrix", "rotation", "orientation")
ORIGIN = ("offset", "origin", "position")
FLAGS = ("binarydata", "compresseddata", "elementbyteordermsb", "binarydatabyteordermsb")
WORDS = {"true": "true", "t": "true", "1": "true", "false": "false", "f": "false", "0": "false"}  # as MetaIO takes them
UNITS = {"mm": 1.0, "um": 1e-3, "cm": 10.0}  # DistanceUnits


@dataclass(frozen=True)
class MetaHeader:
    """What the voxels need. ``sizes``: x, y, z[, t]; ``end``: the first byte behind the header's last line."""

    fields: dict[str, str]
    sizes: tuple[int, ...]
    channels: int
    dtype: np.dtype[Any]
    end: int

    @property
    def encoding(self) -> str:
        """How the bytes are packed."""
        if self.fields.get("binarydata", "true") == "false":
            return "text"
        return "gzip" if self.fields.get("compresseddata", "false") == "true" else "raw"

    @property
    def is_split(self) -> bool:
        """True where the voxels lie in a list or a numbered series of files."""
        name = self.fields["elementdatafile"]
        return name.split()[0] == "LIST" or "%" in name


def read_metaimage(path: Path, *, frame: int | None = None) -> RawImage:
    """Read one 3D frame.

    A size that the header states for the compressed bytes is not needed: the stream itself says where it ends.

    Raises:
        ReadError: damaged, cut short, files missing, or an element type that is no number.
    """
    header = read_metaimage_header(path)
    count = int(np.prod(header.sizes[3:], dtype=object))
    index = check_frame(frame, count, path)
    spatial = header.sizes[:3]
    voxels = _voxels(path, header, index, int(np.prod(spatial, dtype=object)) * header.channels)
    shape = (*spatial[::-1], *((header.channels,) if header.channels > 1 else ()))
    array = voxels.reshape(shape if len(spatial) == 3 else (1, *shape))
    findings: list[Finding] = [frame_finding(count)] if count > 1 and frame is None else []
    stated = [any(name in header.fields for name in names) for names in (SPACING, AXES)]
    findings += missing_geometry("MetaImage", *stated)
    return RawImage(array, _place(path, header), findings)


def _place(path: Path, header: MetaHeader) -> Geometry:
    """Return the grid of the first three axes, in mm.

    Raises:
        ReadError: a field has not one number for each axis, or the axes are no rectangular grid.
    """
    count, used = len(header.sizes), min(3, len(header.sizes))
    spacing = _numbers(path, header, SPACING, count) or [1.0] * count
    origin = _numbers(path, header, ORIGIN, count) or [0.0] * count
    rows = _numbers(path, header, AXES, count * count) or np.eye(count).ravel().tolist()
    unit = header.fields.get("distanceunits", "mm").lower()
    if unit not in UNITS:
        raise ReadError(f"cannot read {path}: expected DistanceUnits of {', '.join(UNITS)}, got {unit[:20]!r}")
    axes = np.reshape(rows, (count, count)).T[:used, :used]  # a row of the file is an axis
    shape = (*(1,) * (3 - used), *header.sizes[:used][::-1])
    lengths, corner = ([value * UNITS[unit] for value in values[:used]] for values in (spacing, origin))
    return geometry_from_itk(shape, lengths, corner, axes.ravel().tolist(), what=str(path))


def _numbers(path: Path, header: MetaHeader, names: Sequence[str], count: int) -> list[float]:
    """Return the numbers of a field under the first of its names that is there; [] where none is."""
    name = next((name for name in names if name in header.fields), None)
    if name is None:
        return []
    try:
        found = [float(word) for word in header.fields[name].split()]
    except ValueError:
        found = []
    if len(found) != count or not np.isfinite(found).all():
        raise ReadError(
            f"cannot read {path}: expected {count} numbers in its header's field {name}, got something else"
        )
    return found


def read_metaimage_header(path: Path) -> MetaHeader:
    """Read the header.

    Raises:
        ReadError: damaged, or an element type that is no number.
    """
    with path.open("rb") as file:
        text = file.read(HEADER_BYTES)
    fields: dict[str, str] = {}
    end = 0
    while (stop := text.find(b"\n", end)) >= 0 or end < len(text):
        line, end = text[end : stop if stop >= 0 else None], stop + 1 if stop >= 0 else len(text)
        key, separator, value = line.decode("latin-1").partition("=")
        if separator:
            fields[key.strip().lower()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    for name in FLAGS:
        if name not in fields:
            continue
        if (word := fields[name].lower()) not in WORDS:
            raise ReadError(f"cannot read {path}: expected {name} of True or False, got {word[:20]!r}")
        fields[name] = WORDS[word]
    if not fields.get("elementdatafile"):
        raise ReadError(f"cannot read {path}: its header does not say where the voxels are (ElementDataFile)")
    try:
        sizes = tuple(int(word) for word in fields["dimsize"].split())
        channels = int(fields.get("elementnumberofchannels", "1"))
        known = int(fields.get("ndims", "0")) == len(sizes)  # ITK's reader dies of some other numbers
    except (KeyError, ValueError):
        raise ReadError(f"cannot read {path}: its header gives no sizes (DimSize)") from None
    if not known or not 2 <= len(sizes) <= 4 or min(*sizes, channels) < 1:
        raise ReadError(
            f"cannot read {path}: expected 2 to 4 sizes above 0, got DimSize = {fields['dimsize'][:60]} with "
            f"{channels} channels"
        )
    kind = TYPES.get(fields.get("elementtype", "").removeprefix("MET_").removesuffix("_ARRAY"))
    if kind is None:
        raise ReadError(f"cannot read {path}: expected whole or floating-point numbers (ElementType), got another type")
    big = fields.get("elementbyteordermsb", fields.get("binarydatabyteordermsb")) == "true"
    return MetaHeader(fields, sizes, channels, np.dtype((">" if big else "<") + kind), end)


def _voxels(path: Path, header: MetaHeader, frame: int, count: int) -> NDArray[Any]:
    """Return the voxels of one frame, flat, in the machine's byte order."""
    name = header.fields["elementdatafile"]
    if header.is_split:
        files = _listed(path, header) if name.split()[0] == "LIST" else numbered_names(path, name)
        whole = int(np.prod(header.sizes, dtype=object)) * header.channels
        flat = _joined(path, header, files, whole)[frame * count : (frame + 1) * count]
    else:
        local = name.lower() == "local"
        data = path if local else path_beside(path, name)
        flat = _one_file(data, header, header.end if local else 0, frame, count)
    return flat.astype(flat.dtype.newbyteorder("="), copy=False)


def _one_file(data: Path, header: MetaHeader, start: int, frame: int, count: int) -> NDArray[Any]:
    start = _start(data, header, start, count)
    if header.encoding == "text":
        return read_voxel_bytes(Stretch(data, "text", start), header.dtype, (frame + 1) * count)[frame * count :]
    place = Stretch(data, header.encoding, start, frame * count * header.dtype.itemsize)
    return read_voxel_bytes(place, header.dtype, count)


def _start(data: Path, header: MetaHeader, start: int, count: int) -> int:
    """Return the first byte of the voxels: HeaderSize counts from the file's own; -1 means that they are its end."""
    try:
        size = int(header.fields.get("headersize", "0"))
    except ValueError:
        raise ReadError(f"cannot read {data}: HeaderSize is no number") from None
    if size != -1 or header.encoding != "raw":
        return size if size > 0 else start
    frames = 1 if header.is_split else int(np.prod(header.sizes[3:], dtype=object))
    return max(0, data.stat().st_size - count * frames * header.dtype.itemsize)


def _listed(path: Path, header: MetaHeader) -> list[Path]:
    with path.open("rb") as file:
        file.seek(header.end)
        names = file.read(HEADER_BYTES * 16).decode("latin-1").split("\n")
    return [path_beside(path, name.strip()) for name in names if name.strip()]


def _joined(path: Path, header: MetaHeader, files: list[Path], whole: int) -> NDArray[Any]:
    """Return the voxels of several files, each with an equal share.

    Raises:
        ReadError: more or fewer files than slices.
    """
    shares = [header.sizes[-1] if len(header.sizes) > 2 else 1, int(np.prod(header.sizes[2:], dtype=object))]
    if len(files) not in shares:
        raise ReadError(f"cannot read {path}: expected the names of {shares[0]} files with voxels, got {len(files)}")
    share = whole // len(files)
    return np.concatenate([_one_file(file, header, 0, 0, share) for file in files])
