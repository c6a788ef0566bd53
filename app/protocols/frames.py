"""The array frame of nnInteractive's remote protocol ("NNIA", version 1), both directions.

Little-endian throughout: magic, version, codec, ndim, length of the dtype's name, the name, the shape as int64, then a
count of chunks, each with its plain length, its packed length and a C-Blosc2 chunk of the C-order bytes. Written from
the format's description; the tests read and write it against the published client.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.app.errors import FrameError
from promptseg.errors import MissingExtraError

__all__ = ["pack", "unpack"]

MAGIC, VERSION, ZSTD = b"NNIA", 1, 1
CHUNK_BYTES = 1 << 30  # C-Blosc2 takes at most 2 GiB at a time
LEVEL = 3
WIDTHS = {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (16, 32, 64)}
DTYPES = {"bool", *(f"{kind}{bits}" for kind, widths in WIDTHS.items() for bits in widths)}  # never "object"


def pack(array: NDArray[np.generic]) -> bytes:
    """Return the frame of an array of 1 to 255 dimensions and at least one element."""
    blosc2 = _blosc2()
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    name = array.dtype.newbyteorder("=").name.encode("ascii")
    raw = array.reshape(-1).view(np.uint8).data
    starts = range(0, len(raw), CHUNK_BYTES)
    parts = [
        MAGIC,
        struct.pack("<BBBB", VERSION, ZSTD, array.ndim, len(name)),
        name,
        struct.pack(f"<{array.ndim}q", *array.shape),
        struct.pack("<I", len(starts)),
    ]
    for start in starts:
        piece = raw[start : start + CHUNK_BYTES]
        packed = blosc2.compress2(
            piece,
            typesize=array.dtype.itemsize,
            codec=blosc2.Codec.ZSTD,
            clevel=LEVEL,
            filters=[blosc2.Filter.NOFILTER],
        )
        parts += [struct.pack("<QQ", len(piece), len(packed)), packed]
    return b"".join(parts)


def unpack(frame: bytes, *, limit: int) -> NDArray[np.generic]:
    """Return the array of a frame.

    Args:
        frame: the bytes.
        limit: largest array in bytes; checked before any memory is taken.

    Raises:
        FrameError: not a frame, damaged, of another dtype than the numbers and bool, or larger than ``limit``.
    """
    try:
        return _unpack(memoryview(frame), limit)
    except (struct.error, ValueError, RuntimeError, UnicodeDecodeError, IndexError) as exc:
        raise FrameError(f"expected an array frame, got something damaged or cut off ({exc})") from exc


def _unpack(frame: memoryview, limit: int) -> NDArray[np.generic]:
    if bytes(frame[:4]) != MAGIC:
        raise FrameError("expected an array frame that begins with NNIA, got other bytes")
    version, _, ndim, length = struct.unpack_from("<BBBB", frame, 4)
    if version != VERSION:
        raise FrameError(f"expected an array frame of version {VERSION}, got {version}")
    name = bytes(frame[8 : 8 + length]).decode("ascii")
    if name not in DTYPES:
        raise FrameError(f"expected an array of {', '.join(sorted(DTYPES))}, got {name!r}")
    dtype = np.dtype(name).newbyteorder("<")
    shape = struct.unpack_from(f"<{ndim}q", frame, 8 + length)
    if min(shape, default=0) < 0:
        raise FrameError(f"expected a shape without negative numbers, got {list(shape)}")
    size = math.prod(shape) * dtype.itemsize
    if size > limit:
        raise FrameError(f"expected an array of at most {limit} bytes, got shape {list(shape)} of {name}: {size} bytes")
    at = 8 + length + 8 * ndim
    (count,) = struct.unpack_from("<I", frame, at)
    out, filled, at = np.empty(size, np.uint8), 0, at + 4
    for _ in range(count):
        plain, packed = struct.unpack_from("<QQ", frame, at)
        at += 16
        if filled + plain > size or at + packed > len(frame):
            raise FrameError(
                f"expected chunks of {size} bytes in all for shape {list(shape)}, got more, or a cut frame"
            )
        out[filled : filled + plain] = _chunk(bytes(frame[at : at + packed]), plain)
        filled, at = filled + plain, at + packed
    if filled != size:
        raise FrameError(f"expected {size} bytes for shape {list(shape)} of {name}, got {filled}")
    return out.view(dtype).reshape(shape)


def _chunk(packed: bytes, plain: int) -> NDArray[np.uint8]:
    blosc2 = _blosc2()
    if blosc2.get_cbuffer_sizes(packed)[0] != plain:
        raise FrameError("a chunk of the array frame holds another number of bytes than it says")
    return np.frombuffer(blosc2.decompress2(packed), np.uint8)


def _blosc2() -> Any:
    try:
        import blosc2
    except ImportError:
        raise MissingExtraError("blosc2", "app") from None
    return blosc2
