"""Mutations of sound files, for ``fuzz_readers.py``; the files are those of ``fuzz_seeds.py``."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass

import numpy as np

__all__ = ["Seed", "mutated"]

WORDS = (
    b"0",
    b"-1",
    b"1e400",
    b"nan",
    b"inf",
    b"",
    b"99999999999",
    b"4294967295",
    b"../../x",
    b"(1,2",
    b"\xff\xfe",
    b"0x",
)
NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e-40, 1e38, -0.0)


@dataclass(frozen=True)
class Seed:
    """Sound files of one image.

    Attributes:
        format: the row of the outcome table that it counts in.
        files: names and contents; the first one is mutated.
        header: that many bytes are hit more often.
        seal: what is put right after a mutation, so that it reaches the reader: "" nothing, "gzip" (``files`` has the
            content before compression), "png" (checksums).
    """

    name: str
    format: str
    files: tuple[tuple[str, bytes], ...]
    header: int
    seal: str = ""


# --- mutations ------------------------------------------------------------------------------------------------------


def mutated(seed: Seed, number: int) -> bytes:
    """Return the seed's first file, changed in one to six ways (mostly one or two) that depend on the number alone."""
    rng = np.random.default_rng(number)
    data = bytearray(seed.files[0][1])
    for _ in range(min(6, int(rng.geometric(0.5)))):
        _change(data, rng, min(seed.header, len(data)))
    return SEALS[seed.seal](bytes(data))


def _change(data: bytearray, rng: np.random.Generator, header: int) -> None:
    if len(data) < 16:
        return
    reach = header if header > 16 and rng.random() < 0.85 else len(data)
    at = int(rng.integers(0, min(reach, len(data)) - 8))
    kind = int(rng.integers(9))
    if kind == 0:
        data[at] = int(rng.integers(256))
    elif kind == 1:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        form = ("<H", ">H", "<I", ">I")[int(rng.integers(4))]
        value = NUMBERS[int(rng.integers(len(NUMBERS)))] % (1 << 8 * struct.calcsize(form))
        data[at : at + struct.calcsize(form)] = struct.pack(form, value)
    elif kind == 3:
        form = ("<f", ">f")[int(rng.integers(2))]
        data[at : at + 4] = struct.pack(form, FLOATS[int(rng.integers(len(FLOATS)))])
    elif kind == 4:
        del data[at : at + int(rng.integers(1, 32))]
    elif kind == 5:
        data[at:at] = bytes(data[at : at + int(rng.integers(1, 64))])
    elif kind == 6 and rng.random() < 0.3:
        del data[int(rng.integers(8, len(data))) :]
    elif kind == 7:
        other = int(rng.integers(0, len(data) - 8))
        count = int(rng.integers(1, 24))
        data[at : at + count] = data[other : other + count]
    else:
        _replace_word(data, rng, header)


def _replace_word(data: bytearray, rng: np.random.Generator, header: int) -> None:
    """Put another word in place of a run of printable bytes: text headers, and DICOM's decimal strings."""
    starts = [
        i for i in range(min(header, len(data))) if 33 <= data[i] < 127 and (i == 0 or not 33 <= data[i - 1] < 127)
    ]
    if not starts:
        return
    at = starts[int(rng.integers(len(starts)))]
    stop = at
    while stop < len(data) and 33 <= data[stop] < 127:
        stop += 1
    word = WORDS[int(rng.integers(len(WORDS)))]
    if rng.random() < 0.5:  # of the same length: lengths in binary headers stay true
        word = word[: stop - at].ljust(stop - at)
    data[at:stop] = word


def _with_checksums(data: bytes) -> bytes:
    """Return a PNG whose chunks have right checksums, as far as their lengths can be followed."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        (length,) = struct.unpack_from(">I", out, at)
        if at + 12 + length > len(out):
            break
        struct.pack_into(">I", out, at + 8 + length, zlib.crc32(out[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(out)


SEALS = {"": bytes, "gzip": lambda data: gzip.compress(data, 1, mtime=0), "png": _with_checksums}
