"""PNG: check that every pixel is there, and read what ITK does not: grey with opacity, and the indices of a palette.

Layout: W3C, Portable Network Graphics (Third Edition).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ReadError

__all__ = ["PALETTE", "PngHeader", "read_grey_with_opacity", "read_indices", "read_png_header"]

SIGNATURE_BYTES = 8
GREY_OPACITY, PALETTE = 4, 3  # colour types (section 11.2.1)
CHANNELS = {0: 1, 2: 3, PALETTE: 1, GREY_OPACITY: 2, 6: 4}
# Start and step of columns and rows in the seven passes of an interlaced image (section 8.1).
PASSES = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))


@dataclass(frozen=True)
class PngHeader:
    """Sizes and kind of a PNG's pixels, in the order of its first chunk; ``depth``: bits, ``kind``: colour type."""

    width: int
    height: int
    depth: int
    kind: int
    compression: int
    filtering: int
    interlaced: int

    @property
    def is_grey_with_opacity(self) -> bool:
        """True for two values per pixel."""
        return self.kind == GREY_OPACITY

    def bytes_needed(self) -> int:
        """Return how many bytes the compressed pixels unpack to: each row of each pass has one more for its filter."""
        if not self.interlaced:
            return self._pass(self.width, self.height)
        steps = [(-(-(self.width - x) // dx), -(-(self.height - y) // dy)) for x, dx, y, dy in PASSES]
        return sum(self._pass(columns, rows) for columns, rows in steps if columns > 0 and rows > 0)

    def _pass(self, columns: int, rows: int) -> int:
        return rows * (1 + -(-columns * CHANNELS[self.kind] * self.depth // 8))


def read_png_header(path: Path) -> PngHeader:
    """Return the header of a PNG whose pixels are all there.

    Raises:
        ReadError: damaged or cut short: a checksum is wrong, a chunk is missing, or the pixels unpack to too few bytes.
    """
    try:
        header, packed = _chunks(path.read_bytes())
        found = _unpacked_length(packed, header.bytes_needed())
    except (struct.error, KeyError, ValueError, zlib.error) as exc:
        raise ReadError(f"cannot read {path}: the PNG file is damaged or cut short") from exc
    if found < header.bytes_needed():
        raise ReadError(
            f"cannot read {path}: the PNG file is cut short; expected {header.bytes_needed()} bytes, found {found}"
        )
    return header


def read_grey_with_opacity(path: Path) -> NDArray[Any]:
    """Return (1, y, x, 2), 8 or 16 bits.

    Raises:
        ReadError: damaged.
    """
    import cv2

    colours = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if colours is None or colours.ndim != 3 or colours.shape[2] != 4:
        raise ReadError(f"cannot read {path}: the PNG file is damaged or of an unsupported kind")
    return np.ascontiguousarray(colours[None, ..., 2:])  # blue, green and red are one


def read_indices(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the indices (1, y, x) of a palette's picture, and the palette (n, 3).

    Raises:
        ReadError: damaged.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            indices, palette = np.asarray(image), image.getpalette("RGB")
    except (OSError, ValueError, SyntaxError) as exc:
        raise ReadError(f"cannot read {path}: the PNG file is damaged or cut short") from exc
    if indices.ndim != 2 or palette is None:
        raise ReadError(f"cannot read {path}: the palette of the PNG file is missing or malformed")
    return indices[None], np.asarray(palette, np.uint8).reshape(-1, 3)


def _chunks(data: bytes) -> tuple[PngHeader, bytes]:
    """Return the header and the compressed pixels.

    Raises:
        ValueError: a checksum is wrong, or the end is missing. struct.error: cut short.
    """
    at = SIGNATURE_BYTES
    header, packed = None, []
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(body, zlib.crc32(name)) != checksum:
            raise ValueError("a checksum is wrong")
        if name == b"IHDR":
            header = PngHeader(*struct.unpack(">2I5B", body))
        elif name == b"IDAT":
            packed.append(body)
        elif name == b"IEND":
            break
        at += 12 + length
    if header is None:
        raise ValueError("no header")
    return header, b"".join(packed)


def _unpacked_length(packed: bytes, wanted: int) -> int:
    """Return the length of the stream when unpacked, at most a little more than ``wanted``."""
    unpack, found = zlib.decompressobj(), 0
    while packed and found <= wanted and not unpack.eof:
        found += len(unpack.decompress(packed, 1 << 20))
        packed = unpack.unconsumed_tail
    return found
