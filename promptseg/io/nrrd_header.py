"""The header of a NRRD file: its fields by name, and what each axis means.

Format: https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from promptseg.errors import ReadError

__all__ = ["NrrdHeader", "read_nrrd_header"]

HEADER_BYTES = 1 << 24
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
ENCODINGS = {"raw": "raw", "txt": "text", "text": "text", "ascii": "text", "hex": "hex", "gz": "gzip", "gzip": "gzip",
             "bz2": "bzip2", "bzip2": "bzip2"}  # fmt: skip
PER_AXIS = ("sizes", "spacings", "thicknesses", "axismins", "axismaxs", "centers", "centerings", "kinds", "labels",
            "units", "spacedirections")  # fmt: skip
OURS = ("datafile", "encoding", "endian", "lineskip", "byteskip", "dimension", "measurementframe")
LENGTHS = ("spacings", "thicknesses", "axismins", "axismaxs", "spacedirections", "spaceorigin")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf)", re.IGNORECASE | re.ASCII)
PLAIN_KINDS = ("", "???", "none", "domain", "space")  # axes of the grid
SEGMENT_KEY = re.compile(r"Segment\d+_")
ITEMS = re.compile(r'none|\([^)]*\)|"(?:[^"\\]|\\.)*"|\S+')  # a vector, a quoted text, a word
KNOWN_SPACES = re.compile(r"(right|left)-(anterior|posterior)-superior(-time)?|(r|l)(a|p)st?", re.IGNORECASE)


@dataclass(frozen=True)
class NrrdHeader:
    """What a header says.

    Attributes:
        magic: the first line. fields: canonical name (no spaces, lower case) to the name as written and its value.
        keys: the key-value pairs. listed: file names behind ``data file: LIST``.
        end: first byte behind the header.
        sizes: of each axis, the fastest first. dtype: of a voxel, in the file's byte order.
        components, frames: the axis that holds components (colours, layers) or frames; None where there is none.
    """

    magic: str
    fields: Mapping[str, tuple[str, str]]
    keys: tuple[tuple[str, str], ...]
    listed: tuple[str, ...]
    end: int
    sizes: tuple[int, ...]
    dtype: np.dtype[Any]
    components: int | None
    frames: int | None

    def value(self, name: str, default: str = "") -> str:
        """Return a field's text."""
        return self.fields.get(name, ("", default))[1]

    def number(self, name: str) -> int:
        """Return a field's whole number, 0 where it is missing."""
        return int(self.value(name, "0"))

    @property
    def encoding(self) -> str:
        """How the bytes are packed, in the words of ``Stretch``."""
        return ENCODINGS[self.value("encoding").lower()]

    @property
    def has_spacing(self) -> bool:
        """True where the header states distances between voxels."""
        return bool({"spacedirections", "spacings", "axismins"} & set(self.fields))

    @property
    def has_axes(self) -> bool:
        """True where the header says what left and right are."""
        return "spacedirections" in self.fields and bool(KNOWN_SPACES.fullmatch(self.value("space")))

    @property
    def world_units(self) -> tuple[str, ...]:
        """The units of the grid's lengths, lower case; () where none is stated."""
        if "spacedirections" in self.fields:
            found = _items(self.value("spaceunits"))
        else:
            units = _items(self.value("units"))
            found = [unit for axis, unit in enumerate(units) if axis not in (self.components, self.frames)]
        return tuple(unit.strip('"').strip().lower() for unit in found)

    def one_frame(self) -> tuple[bytes, tuple[int, ...]]:
        """Return a header of one frame whose voxels lie uncompressed in ``voxels.raw``, and its sizes x, y[, z]."""
        kept = [axis for axis in range(len(self.sizes)) if axis != self.frames]
        lines = [self.magic, f"dimension: {len(kept)}"]
        for name, (written, value) in self.fields.items():
            if name in OURS:
                continue
            items = _items(value)
            text = " ".join(items[axis] for axis in kept) if name in PER_AXIS else value
            lines.append(f"{written}: {self._spatial(name, text)}")
        lines += [f"{key}:={value}" for key, value in self.keys]
        lines += ["endian: little", "encoding: raw", "data file: voxels.raw", "", ""]
        sizes = tuple(self.sizes[axis] for axis in kept if axis != self.components)
        return "\n".join(lines).encode("latin-1"), sizes

    def _spatial(self, name: str, text: str) -> str:
        """Return a field's value without the fourth dimension of a space that has time."""
        vectors = re.findall(r"\(([^)]*)\)", self.value("spacedirections") + self.value("spaceorigin"))
        if not vectors or len(vectors[0].split(",")) != 4:
            return text
        if name == "space":
            return re.sub(r"-time$|(?<=^...)T$", "", text, flags=re.IGNORECASE)
        if name == "spacedimension":
            return "3"
        if name in ("spacedirections", "spaceorigin"):
            return re.sub(r"\(([^)]*),[^,)]*\)", r"(\1)", text)
        return " ".join(_items(text)[:3]) if name == "spaceunits" else text


def read_nrrd_header(path: Path) -> NrrdHeader:
    """Read the header.

    Raises:
        ReadError: damaged, an unknown type or encoding, or axes that are no image of one or more frames.
    """
    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
    magic, fields, keys, listed, end = _lines(raw)
    try:
        sizes = tuple(int(word) for word in fields["sizes"][1].split())
        known = fields["encoding"][1].lower() in ENCODINGS and int(fields["dimension"][1]) == len(sizes)
        kind = " ".join(fields["type"][1].lower().split())
        skips = [int(fields[name][1]) for name in ("lineskip", "byteskip") if name in fields]
    except (KeyError, ValueError):
        raise ReadError(f"cannot read {path}: the NRRD header is damaged or lacks a field that it needs") from None
    if not known or not sizes or min(sizes) < 1 or min([0, *skips]) < -1:
        raise ReadError(f"cannot read {path}: the NRRD header gives impossible sizes, or an encoding that is unknown")
    if any(name in fields and len(_items(fields[name][1])) != len(sizes) for name in PER_AXIS):
        raise ReadError(f"cannot read {path}: a field of its NRRD header has not one entry for each axis")
    if (wrong := next((name for name in LENGTHS if not _is_numbers(fields.get(name, ("", ""))[1])), None)) is not None:
        raise ReadError(f"cannot read {path}: expected numbers in the field {fields[wrong][0]!r} of its NRRD header")
    code = next((code for code, names in TYPES.items() if kind in names), None)
    if code is None:
        raise ReadError(f"cannot read {path}: expected whole or floating-point numbers, got the type {kind[:40]!r}")
    order = ">" if fields.get("endian", ("", "little"))[1].lower() == "big" else "<"
    components, frames = _roles(fields, keys, path)
    dtype = np.dtype(order + code)
    return NrrdHeader(magic, fields, keys, listed, end, sizes, dtype, components, frames)


Fields = dict[str, tuple[str, str]]


def _lines(raw: bytes) -> tuple[str, Fields, tuple[tuple[str, str], ...], tuple[str, ...], int]:
    """Take the header apart; the names of a list of files run to its end."""
    fields: Fields = {}
    keys: list[tuple[str, str]] = []
    listed: list[str] = []
    magic, end = "", 0
    while end < len(raw):
        stop = raw.find(b"\n", end)
        line = raw[end : stop if stop >= 0 else len(raw)].decode("latin-1").rstrip("\r")
        end = stop + 1 if stop >= 0 else len(raw)
        if not magic:
            magic = line
        elif not line.strip():
            break
        elif "datafile" in fields and fields["datafile"][1].startswith("LIST"):
            listed.append(line.strip())
        elif not line.startswith("#"):
            _enter(line, fields, keys)
    return magic, fields, tuple(keys), tuple(listed), end


def _enter(line: str, fields: Fields, keys: list[tuple[str, str]]) -> None:
    key, pair, value = line.partition(":=")
    name, colon, text = line.partition(": ")
    if colon and (not pair or len(name) < len(key)):
        fields["".join(name.lower().split())] = (name.strip(), text.strip())
    elif pair:
        keys.append((key, value))


def _items(text: str) -> list[str]:
    return ITEMS.findall(text)


def _is_numbers(text: str) -> bool:
    """Return True for numbers and vectors of them; ITK's reader takes what it can of a number that is damaged."""
    words = [word.strip() for item in _items(text) for word in item.removeprefix("(").removesuffix(")").split(",")]
    return all(word.lower() in ("none", "???") or NUMBER.fullmatch(word) for word in words)


def _roles(fields: Fields, keys: Sequence[tuple[str, str]], path: Path) -> tuple[int | None, int | None]:
    """Return which axis holds components and which one frames.

    A list is frames (a sequence of 3D Slicer) unless its layers are those of a segmentation; so is time, and an axis
    of diffusion directions (https://www.na-mic.org/wiki/NAMIC_Wiki:DTI:Nrrd_format).
    """
    count = len(fields["sizes"][1].split())
    kinds = [kind.lower() for kind in _items(fields.get("kinds", ("", ""))[1])] or [""] * count
    directions = _items(fields.get("spacedirections", ("", ""))[1]) or [""] * count
    layered = any(SEGMENT_KEY.match(key) for key, _ in keys)
    diffusion = any(key.lower() == "modality" and value.strip() == "DWMRI" for key, value in keys)
    grid, frames, components = [], [], []
    for axis, (kind, direction) in enumerate(zip(kinds, directions, strict=True)):
        if kind in PLAIN_KINDS and direction.lower() != "none":
            grid.append(axis)
        elif kind in (*PLAIN_KINDS, "time") or (kind == "list" and not layered) or (kind == "vector" and diffusion):
            frames.append(axis)
        else:
            components.append(axis)
    if len(grid) == 4 and not frames:
        frames.append(grid.pop())
    if len(grid) not in (2, 3) or len(frames) > 1 or len(components) > 1:
        sizes = " x ".join(fields["sizes"][1].split())
        raise ReadError(
            f"cannot read {path}: expected 2 or 3 axes in space, and at most one of frames and one of components; got "
            f"{count} axes ({sizes})"
        )
    return next(iter(components), None), next(iter(frames), None)
