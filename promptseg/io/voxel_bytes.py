"""The bytes of voxels, counted: from a plain, gzip, zlib, bzip2, text or hexadecimal stretch of a file.

ITK and the libraries inside it hand out memory that was never written where a stream is damaged or ends early, without
a word. So voxels of NIfTI, NRRD, MetaImage and MGH are read here: exactly as many as the header promises, or none.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ReadError

__all__ = ["Stretch", "is_gzipped", "read_voxel_bytes"]

CHUNK = 1 << 20  # bytes read at a time
MAX_TAIL = 1 << 26  # bytes behind the voxels that are gone through to the stream's checksum
# How many bytes one compressed byte can become at most: deflate's limit, and far above what bzip2's blocks hold.
LARGEST_RATIO = {"raw": 1, "gzip": 1100, "bzip2": 1_000_000}
AUTOMATIC = 47  # zlib's window bits: 15, plus 32 for "gzip or zlib header, whichever is there"


@dataclass(frozen=True)
class Stretch:
    """Where voxels lie in a file.

    Attributes:
        path: the file.
        encoding: "raw", "gzip" (a zlib stream too), "bzip2", "text" (decimal numbers) or "hex".
        start: first byte of the stream in the file.
        skip: bytes to pass over in the stream, after decompression.
    """

    path: Path
    encoding: str = "raw"
    start: int = 0
    skip: int = 0


def is_gzipped(path: Path) -> bool:
    """Return True for a file that starts as gzip does, whatever its name."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def read_voxel_bytes(place: Stretch, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Return ``count`` voxels as a flat array of ``dtype``.

    Raises:
        ReadError: fewer are there, the compression is damaged, or the memory does not suffice.
    """
    try:
        if place.encoding == "text":
            return _text(place, dtype, count)
        if place.encoding == "hex":
            return _hexadecimal(place, dtype, count)
        return _binary(place, dtype, count)
    except (MemoryError, OverflowError) as exc:
        needed = count * dtype.itemsize
        raise ReadError(f"cannot read {place.path}: its {needed} bytes of voxels do not fit into memory") from exc
    except OSError as exc:
        raise ReadError(f"cannot read {place.path}: {exc.strerror or type(exc).__name__}") from exc


def _binary(place: Stretch, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    length = count * dtype.itemsize
    there = max(0, place.path.stat().st_size - place.start)
    if (there * LARGEST_RATIO[place.encoding]) < place.skip + length:  # before any memory is taken
        _cut_short(place, length, there - place.skip if place.encoding == "raw" else None)
    out = np.empty(length, dtype=np.uint8)
    with place.path.open("rb") as file:
        file.seek(place.start)
        if place.encoding == "raw":
            file.seek(place.skip, 1)
            done = _read_into(file, out)
        else:
            done = _fill(_decompressed(file, place), out, place.skip)
    if done < length:
        _cut_short(place, length, done)
    return out.view(dtype)


def _cut_short(place: Stretch, expected: int, found: int | None) -> None:
    there = "" if found is None else f", found {max(0, found)}"
    raise ReadError(f"cannot read {place.path}: it is cut short; expected {expected} bytes of voxels{there}")


def _read_into(file: BinaryIO, out: NDArray[np.uint8]) -> int:
    view, done = memoryview(out), 0  # type: ignore[arg-type]  # an array is a buffer
    while done < len(view) and (got := file.readinto(view[done : done + CHUNK])):  # type: ignore[attr-defined]
        done += got
    return done


def _fill(parts: Iterator[bytes], out: NDArray[np.uint8], skip: int) -> int:
    """Copy what comes after ``skip`` bytes into ``out``; go on to the stream's end, where its checksum stands."""
    done = tail = 0
    for part in parts:
        if skip >= len(part):
            skip -= len(part)
            continue
        fresh = np.frombuffer(part, np.uint8)[skip:][: len(out) - done]
        out[done : done + len(fresh)] = fresh
        tail += len(part) - skip - len(fresh)
        skip, done = 0, done + len(fresh)
        if tail > MAX_TAIL:
            break
    return done


def _decompressed(file: BinaryIO, place: Stretch) -> Iterator[bytes]:
    """Yield the decompressed bytes; several streams one behind the other are one, what follows them is passed over.

    Raises:
        ReadError: damaged, or the stream ends early.
    """
    pending = file.read(CHUNK)
    streams = 0
    while pending and (streams == 0 or pending.startswith((b"\x1f\x8b", b"BZh"))):
        unpack: Any = bz2.BZ2Decompressor() if place.encoding == "bzip2" else zlib.decompressobj(AUTOMATIC)
        streams += 1
        while not unpack.eof:
            try:
                part = unpack.decompress(pending, CHUNK)
            except (zlib.error, OSError) as exc:
                raise ReadError(
                    f"cannot read {place.path}: its {place.encoding} compression is damaged or cut short"
                ) from exc
            yield part
            pending = getattr(unpack, "unconsumed_tail", b"")
            if not unpack.eof and not pending and getattr(unpack, "needs_input", True):
                pending = file.read(CHUNK)
                if not pending and not part:
                    raise ReadError(
                        f"cannot read {place.path}: its {place.encoding} compression is damaged or cut short"
                    )
        pending = unpack.unused_data or file.read(CHUNK)


def _text(place: Stretch, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    words = _rest(place).split()
    if len(words) < count:
        raise ReadError(f"cannot read {place.path}: it is cut short; expected {count} numbers, found {len(words)}")
    try:
        if dtype.kind == "f":
            return np.array([float(word) for word in words[:count]], dtype=dtype)
        return np.array([int(word) for word in words[:count]], dtype=dtype)
    except (ValueError, OverflowError) as exc:
        raise ReadError(f"cannot read {place.path}: its text holds what is no number of type {dtype.name}") from exc


def _hexadecimal(place: Stretch, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    digits = b"".join(_rest(place).split())
    needed = 2 * count * dtype.itemsize
    if len(digits) < needed:
        raise ReadError(f"cannot read {place.path}: it is cut short; expected {needed} digits, found {len(digits)}")
    try:
        return np.frombuffer(bytearray.fromhex(digits[:needed].decode("ascii")), dtype=dtype)
    except ValueError as exc:
        raise ReadError(f"cannot read {place.path}: its voxels hold what is no hexadecimal digit") from exc


def _rest(place: Stretch) -> bytes:
    with place.path.open("rb") as file:
        file.seek(place.start + place.skip)
        return file.read()
