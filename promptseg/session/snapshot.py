"""A session's labels and past beside its journal, so that reopening does not work everything out again.

The journal stays the truth: a snapshot says up to which byte of it, with the digest of those bytes, it was taken. One
that does not fit, is damaged, or was written by a version with other fields is passed over.

    "promptseg snapshot 1\\n"  sha256 of all that follows (32 bytes)  length of the table (8 bytes)  table  blobs
"""

from __future__ import annotations

import hashlib
import json
import logging
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from promptseg.io.atomic import all_or_nothing
from promptseg.session.frozen import SCHEMA, freeze, thaw
from promptseg.session.history import Past
from promptseg.session.journal import JournalContent

__all__ = ["FILE_NAME", "Snapshot", "read_snapshot", "write_snapshot"]

LOGGER = logging.getLogger(__name__)
FILE_NAME = "session.snapshot"
MAGIC = b"promptseg snapshot 1\n"
LENGTH = struct.Struct("<Q")


class Snapshot(NamedTuple):
    """A past, and the number of the journal's bytes that lead to it."""

    past: Past
    size: int


def write_snapshot(folder: Path, past: Past, journal: Path, size: int) -> None:
    """Write a snapshot, whole or not at all.

    Args:
        folder: the session's.
        past: what is kept.
        journal: the journal's file.
        size: how many of its bytes lead to ``past``.

    Raises:
        WriteError: the disk is full or gone.
        OSError: the journal cannot be read.
        TypeError: the past holds a value of a kind that cannot be written.
    """
    with journal.open("rb") as file:
        digest = hashlib.sha256(file.read(size)).hexdigest()
    nodes, blobs = freeze(past)
    head = {"schema": SCHEMA, "size": size, "journal": digest, "nodes": nodes, "blobs": [len(blob) for blob in blobs]}
    table = zlib.compress(json.dumps(head, separators=(",", ":")).encode(), 1)
    parts = [LENGTH.pack(len(table)), table, *blobs]
    check = hashlib.sha256()
    for part in parts:
        check.update(part)
    path = folder / FILE_NAME
    with all_or_nothing(path) as place, (place / path.name).open("wb") as out:
        out.writelines([MAGIC, check.digest(), *parts])


def read_snapshot(folder: Path, content: JournalContent) -> Snapshot | None:
    """Return the folder's snapshot, None where there is none that fits the journal."""
    path = folder / FILE_NAME
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    start = len(MAGIC) + hashlib.sha256().digest_size
    rest = memoryview(raw)[start:]
    if not raw.startswith(MAGIC) or hashlib.sha256(rest).digest() != raw[len(MAGIC) : start]:
        LOGGER.warning("%s is damaged; the journal has everything", path)
        return None
    try:
        length = LENGTH.unpack(rest[: LENGTH.size])[0]
        head = json.loads(zlib.decompress(rest[LENGTH.size : LENGTH.size + length]))
        fits = head["schema"] == SCHEMA and head["journal"] == content.digest(head["size"])
        if not fits:
            return None
        return Snapshot(thaw(head["nodes"], list(_cut(rest[LENGTH.size + length :], head["blobs"]))), head["size"])
    except (ValueError, KeyError, IndexError, TypeError, struct.error, zlib.error) as exc:
        LOGGER.warning("%s cannot be used (%s); the journal has everything", path, exc)
        return None


def _cut(rest: memoryview, lengths: list[int]) -> Iterator[bytes]:
    at = 0
    for length in lengths:
        yield bytes(rest[at : at + length])
        at += length
