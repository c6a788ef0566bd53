"""Check that a TIFF's pixels are all there, and its pages alike, before it is read.

Readers fill what is missing with zeros and go on. ITK 5.4 takes every page to be as large as the first, and counts a
thumbnail or mask before a full page as none but leaves room for it; where some pages are marked as pages of a document,
it leaves room for those alone: in all three cases it writes past its memory.

Layout: TIFF 6.0 (Adobe, 1992), section 2; BigTIFF as in libtiff's "BigTIFF Design".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from promptseg.errors import ReadError

__all__ = ["require_whole_tiff"]

OFFSETS, LENGTHS = (273, 324), (279, 325)  # StripOffsets, TileOffsets; StripByteCounts, TileByteCounts
KIND, ALIKE = 254, (256, 257, 258, 259, 262, 277, 284, 339)  # NewSubfileType; size, bits, compression, colours, layout
ASIDE, PAGE = 1 | 4, 2  # bits of NewSubfileType: reduced image, mask; a page of a document
LAYOUT = (266, 278, 317, 322, 323)  # FillOrder, RowsPerStrip, Predictor, TileWidth, TileLength
PER_SAMPLE, SAMPLES = (258, 339), 277  # BitsPerSample, SampleFormat have a number for each of SamplesPerPixel
CHOICES = {266: (1, 2), 284: (1, 2), 317: (1, 2, 3, *range(34892, 34896)), 339: (1, 2, 3, 4, 5, 6)}
"""What FillOrder, PlanarConfiguration, Predictor (TIFF's, and the wider differences of DNG) and SampleFormat can be."""
TYPE_FORMATS = {3: "H", 4: "I", 16: "Q", 13: "I", 18: "Q"}  # SHORT, LONG, LONG8, IFD, IFD8
MAX_PAGES = 65_536
MAX_PARTS = 10_000_000  # strips or tiles of one page; more is damage

Page = dict[int, tuple[int, ...]]


def require_whole_tiff(path: Path) -> None:
    """Raise unless every strip and tile of every page lies inside the file and all full pages are alike.

    Raises:
        ReadError: cut short, its directory is damaged, or its pages differ.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            pages = _pages(file)
            end = max((_end_of_page(page) for page in pages), default=0)
        except (struct.error, ValueError, OverflowError, OSError, MemoryError) as exc:
            raise ReadError(f"cannot read {path}: the TIFF file is damaged or cut short") from exc
    if end > size:
        raise ReadError(f"cannot read {path}: the TIFF file is cut short; its pixels end at byte {end} of {size}")
    _require_alike(pages, path)


def _require_alike(pages: list[Page], path: Path) -> None:
    """Raise unless the full pages have one size and layout, and thumbnails and masks come after them."""
    aside = [bool((page.get(KIND) or (0,))[0] & ASIDE) for page in pages]
    full = [page for page, left_out in zip(pages, aside, strict=True) if not left_out]
    if not full or any(aside[: len(full)]):
        raise ReadError(f"cannot read {path}: its first pages are thumbnails or masks; save the full pages alone")
    if len({(page.get(KIND) or (0,))[0] & PAGE for page in full}) > 1:
        raise ReadError(
            f"cannot read {path}: some of its pages are marked as pages of a document, some are not; save them alike"
        )
    if any({tag: page.get(tag) for tag in ALIKE} != {tag: full[0].get(tag) for tag in ALIKE} for page in full):
        raise ReadError(f"cannot read {path}: its pages differ in size or kind of pixels; save pages of one kind")


def _pages(file: BinaryIO) -> list[Page]:
    """Return the tags that matter of every page."""
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    word = "Q" if big else "I"
    (position,) = struct.unpack_from(order + word, head, 8 if big else 4)
    seen: set[int] = set()
    pages = []
    while position:
        if position in seen or len(seen) >= MAX_PAGES:
            raise ValueError("the pages run in a circle")
        seen.add(position)
        file.seek(position)
        (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
        if count > MAX_PAGES:
            raise ValueError("too many tags")
        entries = file.read(count * (20 if big else 12))
        (position,) = struct.unpack(order + word, file.read(struct.calcsize(word)))
        pages.append(_page(file, entries, order, big))
    return pages


def _page(file: BinaryIO, entries: bytes, order: str, big: bool) -> Page:
    found: Page = {}
    width, word = (20, "Q") if big else (12, "I")
    for start in range(0, len(entries), width):
        tag, kind = struct.unpack_from(order + "2H", entries, start)
        (count,) = struct.unpack_from(order + word, entries, start + 4)
        if tag not in (*OFFSETS, *LENGTHS, KIND, *ALIKE, *LAYOUT):
            continue
        if kind not in TYPE_FORMATS or count > MAX_PARTS or tag in found:
            raise ValueError("a tag is damaged")
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
    for tag in (*ALIKE, *LAYOUT):
        if len(found.get(tag, (0,))) not in ((1, *found.get(SAMPLES, (1,))) if tag in PER_SAMPLE else (1,)):
            raise ValueError("a tag has too many numbers, or none")
    if any(value not in values for tag, values in CHOICES.items() for value in found.get(tag, ())):
        raise ValueError("a tag has a value that there is not")
    return found


def _end_of_page(page: Page) -> int:
    """Return the first byte behind the pixels."""
    end = 0
    for offsets, lengths in zip(OFFSETS, LENGTHS, strict=True):
        pairs = list(zip(page.get(offsets, ()), page.get(lengths, ()), strict=True))
        if any(length == 0 for _, length in pairs):
            raise ValueError("a strip or tile is missing")
        end = max(end, max((offset + length for offset, length in pairs), default=0))
    return end
