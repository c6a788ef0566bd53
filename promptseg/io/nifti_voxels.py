"""Go through a NIfTI file's voxels once before ITK reads them: are all there, and which are no numbers?

ITK takes a cut-off or damaged gzip stream for zeros, and its NIfTI library turns NaN and infinity into 0 (water in CT);
neither says a word.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ReadError

__all__ = ["NotNumbers", "scan_voxels"]

CHUNK = 1 << 20  # bytes; a multiple of every voxel size
MAX_TAIL = 1 << 26  # bytes behind the voxels; more is a decompression bomb
FLOATS = {16: "f4", 64: "f8"}  # nifti1.h DT_FLOAT32, DT_FLOAT64


@dataclass(frozen=True)
class NotNumbers:
    """Places (in the file's order) of voxels that are NaN, +inf and -inf."""

    nan: NDArray[np.int64]
    above: NDArray[np.int64]
    below: NDArray[np.int64]

    def put_back(self, array: NDArray[Any], frame: int) -> None:
        """Set the voxels of one frame (z, y, x) to what the file says, where ITK has put 0."""
        start = frame * array.size
        flat = array.reshape(-1)
        for places, value in ((self.nan, math.nan), (self.above, math.inf), (self.below, -math.inf)):
            inside = places[(places >= start) & (places < start + array.size)] - start
            flat[inside] = value


def scan_voxels(path: Path, *, start: int, length: int, kind: int, order: str) -> NotNumbers | None:
    """Read all voxels once.

    Args:
        path: the file that holds them, compressed or not.
        start: of the first voxel, bytes.
        length: of all voxels, bytes.
        kind: NIfTI datatype code.
        order: "<" or ">".

    Returns:
        Where floating-point voxels are no finite numbers; None where all are, or the type cannot say otherwise.

    Raises:
        ReadError: cut short, or the compression is damaged.
    """
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    if not packed:
        there = path.stat().st_size - start
        if there < length:
            raise ReadError(
                f"cannot read {path}: it is cut short; expected {length} bytes of voxels, found {max(there, 0)}"
            )
        if kind not in FLOATS:
            return None
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            return _scan(file, path, start, length, np.dtype(order + FLOATS[kind]) if kind in FLOATS else None)
    except (OSError, EOFError, zlib.error) as exc:
        raise ReadError(f"cannot read {path}: its gzip compression is damaged or cut short") from exc


def _scan(file: Any, path: Path, start: int, length: int, dtype: np.dtype[Any] | None) -> NotNumbers | None:
    file.read(start)
    found: tuple[list[NDArray[Any]], ...] = ([], [], [])
    done = 0
    while done < length and (part := _read_fully(file, min(CHUNK, length - done))):
        if dtype is not None:
            values = np.frombuffer(part[: len(part) // dtype.itemsize * dtype.itemsize], dtype=dtype)
            if not np.isfinite(values).all():
                tests = (np.isnan(values), values == np.inf, values == -np.inf)
                for places, test in zip(found, tests, strict=True):
                    places.append(np.flatnonzero(test) + done // dtype.itemsize)
        done += len(part)
    if done < length:
        raise ReadError(f"cannot read {path}: it is cut short; expected {length} bytes of voxels, found {done}")
    tail = 0
    while tail < MAX_TAIL and (part := file.read(CHUNK)):  # to the end: there stands the checksum
        tail += len(part)
    if not any(found):
        return None
    nan, above, below = (np.concatenate(places).astype(np.int64) for places in found)
    return NotNumbers(nan, above, below)


def _read_fully(file: BinaryIO, count: int) -> bytes:
    """Return ``count`` bytes, fewer only at the end (a compressed file may give less at a time)."""
    parts = []
    while count and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
