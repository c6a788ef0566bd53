"""Check that a TIFF's pixels are all there: libtiff fills what is missing with zeros and goes on.

Layout: TIFF 6.0 (Adobe, 1992), section 2; BigTIFF as in libtiff's "BigTIFF Design".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from promptseg.errors import ReadError

__all__ = ["require_whole_tiff"]

OFFSETS, LENGTHS = (273, 324), (279, 325)  # StripOffsets, TileOffsets; StripByteCounts, TileByteCounts
TYPE_FORMATS = {3: "H", 4: "I", 16: "Q", 13: "I", 18: "Q"}  # SHORT, LONG, LONG8, IFD, IFD8
MAX_PAGES = 65_536
MAX_PARTS = 10_000_000  # strips or tiles of one page; more is damage


def require_whole_tiff(path: Path) -> None:
    """Raise unless every strip and tile of every page lies inside the file.

    Raises:
        ReadError: cut short, or its directory is damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            end = _end_of_pixels(file)
        except (struct.error, ValueError, OverflowError, OSError, MemoryError) as exc:
            raise ReadError(f"cannot read {path}: the TIFF file is damaged or cut short") from exc
    if end > size:
        raise ReadError(f"cannot read {path}: the TIFF file is cut short; its pixels end at byte {end} of {size}")


def _end_of_pixels(file: BinaryIO) -> int:
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    word = "Q" if big else "I"
    (position,) = struct.unpack_from(order + word, head, 8 if big else 4)
    seen: set[int] = set()
    end = 0
    while position:
        if position in seen or len(seen) >= MAX_PAGES:
            raise ValueError("the pages run in a circle")
        seen.add(position)
        file.seek(position)
        (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
        if count > MAX_PAGES:
            raise ValueError("too many tags")
        width = 20 if big else 12
        entries = file.read(count * width)
        (position,) = struct.unpack(order + word, file.read(struct.calcsize(word)))
        end = max(end, _end_of_page(file, entries, order, big))
    return end


def _end_of_page(file: BinaryIO, entries: bytes, order: str, big: bool) -> int:
    found: dict[int, tuple[int, ...]] = {}
    width, word = (20, "Q") if big else (12, "I")
    for start in range(0, len(entries), width):
        tag, kind = struct.unpack_from(order + "2H", entries, start)
        (count,) = struct.unpack_from(order + word, entries, start + 4)
        if tag not in OFFSETS + LENGTHS:
            continue
        if kind not in TYPE_FORMATS or count > MAX_PARTS:
            raise ValueError("a strip table is damaged")
        room = struct.calcsize(word)
        bytes_needed = count * struct.calcsize(TYPE_FORMATS[kind])
        at = start + 4 + room
        if bytes_needed <= room:
            data = entries[at : at + bytes_needed]
        else:
            (where,) = struct.unpack_from(order + word, entries, at)
            file.seek(where)
            data = file.read(bytes_needed)
        found[tag] = struct.unpack(f"{order}{count}{TYPE_FORMATS[kind]}", data)
    end = 0
    for offsets, lengths in zip(OFFSETS, LENGTHS, strict=True):
        pairs = zip(found.get(offsets, ()), found.get(lengths, ()), strict=True)
        end = max(end, max((offset + length for offset, length in pairs), default=0))
    return end
