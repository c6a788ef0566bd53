"""A session's log on disk while it is being made: append-only JSON lines, flushed to the disk at every entry.

The first two lines are the header, twice (versions, model, image, window, engine); every later line is one entry of the
prompt log, or ``{"op": "undo"}``, ``{"op": "redo"}``, ``{"op": "select"}``, or ``{"op": "damaged"}`` where a repair cut
something off. Each line ends with a checksum over itself and all before it, so a byte that the disk has changed is
found, and costs no more than what follows it. A process that dies in the middle of a line loses only that line, which
was never acknowledged. The file names the image's path, so it stays on this machine with the image.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from promptseg.errors import ReplayError, WriteError

__all__ = ["Journal", "JournalContent", "read_journal"]

LOGGER = logging.getLogger(__name__)
FILE_NAME = "session.jsonl"
LOCK_NAME = "writer.lock"
FORMAT = "promptseg journal"
VERSION = 2
WITHOUT_CHECKSUMS = 1  # the version whose lines may lack theirs, with one header line
SEAL = re.compile(rb',"crc":"([0-9a-f]{8})"\}\Z')
SEALED_SOMEWHERE = re.compile(rb',"crc":"[0-9a-f]{8}"')
Entry = Mapping[str, Any]


class Journal:
    """A journal being written. ``append`` returns only when the entry is on the disk; made by ``create`` or ``go_on``.

    Attributes:
        path: the file.
        size: bytes of the file that are good.
        count: lines after the header.
    """

    def __init__(self, path: Path, lock: FileLock | None, size: int, chain: int, count: int) -> None:
        self.path, self.size, self.count = path, size, count
        self._lock, self._chain = lock, chain
        self._damage: dict[str, Any] | None = None  # found, and not yet cut off

    @staticmethod
    def create(folder: Path, header: Entry, *, alone: bool = True) -> Journal:
        """Begin a journal.

        Args:
            folder: made when missing; must not hold a journal yet.
            header: what ``read_journal`` gives back as ``header``.
            alone: keep other writers out as long as this one lives; False where somebody else sees to that.

        Raises:
            WriteError: the folder cannot be written, or holds another session's journal.
        """
        path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.open("xb").close()
        except FileExistsError:
            raise WriteError(f"{folder} holds a session already; resume it, or choose another folder") from None
        except OSError as exc:
            raise WriteError(f"cannot write the session's journal in {folder}: {exc.strerror}") from exc
        journal = Journal(path, _locked(folder) if alone else None, 0, 0, 0)
        line, journal._chain = _sealed({"format": FORMAT, "version": VERSION, **header}, 0)
        try:
            journal._write(2 * line)
        except WriteError:
            journal.close()
            path.unlink(missing_ok=True)
            raise
        return journal

    @staticmethod
    def go_on(folder: Path, *, alone: bool = True) -> tuple[Journal, JournalContent]:
        """Read a journal in order to write it further; what is damaged is cut off it, and kept beside it.

        Args:
            folder: where it lies.
            alone: as in ``create``.

        Raises:
            WriteError: somebody else is writing it.
            ReplayError: no journal there, or not one of this version.
        """
        lock = _locked(folder) if alone and folder.is_dir() else None
        try:
            read = _read(folder)
        except ReplayError:
            if lock is not None:
                lock.release()
            raise
        journal = Journal(folder / FILE_NAME, lock, read.size, read.chain, len(read.lines))
        if not read.damage:
            return journal, read.content(())
        note = journal._damage = {"op": "damaged", "line": len(read.lines) + 1, "lost": read.lost, "kept": ""}
        try:
            journal._mend()
        except WriteError as exc:
            LOGGER.warning("%s", exc)
        LOGGER.warning("%s", damage_sentence(note))
        return journal, read.content((note,))

    def append(self, entry: Entry) -> None:
        """Write one entry and wait until it is on the disk.

        Raises:
            WriteError: the disk is full or gone; the journal is then as it was.
        """
        if self._damage is not None:
            self._mend()
        line, chain = _sealed(entry, self._chain)
        self._write(line)
        self._chain, self.count = chain, self.count + 1

    def begin_anew(self, header: Entry, lines: Iterable[Entry]) -> Journal:
        """Put another journal in this one's place and return it; this one is kept beside it under a free name.

        Raises:
            WriteError: there is no room for that; nothing has changed.
        """
        with tempfile.TemporaryDirectory(prefix=".anew-", dir=self.path.parent) as name:
            made = Journal.create(Path(name), header, alone=False)
            for line in lines:
                made.append(line)
            _keep_aside(self.path, "before")
            made.path.replace(self.path)
        made.path, made._lock = self.path, self._lock
        return made

    def close(self) -> None:
        """Let others write."""
        if self._lock is not None:
            self._lock.release()

    def _mend(self) -> None:
        """Keep the damaged file beside this one, cut the damage off, and note that.

        Raises:
            WriteError: there is no room for that; the file is as it was.
        """
        note, self._damage = self._damage, None
        try:
            if note is not None:
                note["kept"] = _keep_aside(self.path, "damaged")
                self.append(note)
        except WriteError:
            self._damage = note
            raise

    def _write(self, line: bytes) -> None:
        try:
            with self.path.open("r+b", buffering=0) as file:  # no buffer: closing must not write again
                if file.seek(0, os.SEEK_END) < self.size:
                    raise WriteError(f"the session's journal {self.path} was cut by somebody else; open it again")
                file.truncate(self.size)  # an append that failed may have left a part of its line
                file.seek(self.size)
                try:
                    left = memoryview(line)
                    while left:
                        left = left[file.write(left) :]
                    os.fsync(file.fileno())
                except OSError:
                    os.ftruncate(file.fileno(), self.size)
                    raise
        except OSError as exc:
            raise WriteError(f"cannot write the session's journal {self.path}: {exc.strerror}") from exc
        self.size += len(line)


@dataclass(frozen=True)
class JournalContent:
    """What a journal says.

    Attributes:
        header: the first line.
        lines: everything after it, as written.
        ends: the byte at which each of them ends.
        damages: what repairs have cut off, as their lines say; ``damage_sentence`` tells it.
        raw: the good bytes.
    """

    header: Entry
    lines: tuple[Entry, ...]
    ends: tuple[int, ...]
    damages: tuple[Entry, ...]
    raw: bytes

    def digest(self, size: int) -> str:
        """Return the sha256 (hex) of the first ``size`` bytes."""
        return hashlib.sha256(self.raw[:size]).hexdigest()

    def after(self, size: int) -> tuple[Entry, ...]:
        """Return the lines that lie behind the first ``size`` bytes."""
        return tuple(line for line, end in zip(self.lines, self.ends, strict=True) if end > size)


@dataclass(frozen=True)
class Outcome:
    """What lines lead to: entries in force, oldest first; those that redo brings back, the next one last; and the label
    that was selected after all of these, or None where the entries themselves say it.
    """

    done: tuple[Entry | int, ...]
    undone: tuple[Entry | int, ...]
    selected: int | None


def outcome_of(lines: Sequence[Entry], done_before: int = 0, undone_before: int = 0) -> Outcome:
    """Return what lines lead to.

    Args:
        lines: of a journal.
        done_before: steps in force before them; they stand in the outcome as numbers from 0 on.
        undone_before: steps that redo would bring back before them; their numbers go on from there.
    """
    done: list[Entry | int] = [*range(done_before)]
    undone: list[Entry | int] = [*reversed(range(done_before, done_before + undone_before))]
    selected = None
    for entry in lines:
        op = entry.get("op")
        if op == "select":
            selected = int(entry["label"])
        elif op == "undo":
            undone += [done.pop()] if done else []
        elif op == "redo":
            done += [undone.pop()] if undone else []
        elif op != "damaged":
            done.append(entry)
            undone.clear()
        if op not in ("select", "damaged"):
            selected = None
    return Outcome(tuple(done), tuple(undone), selected)


def read_journal(folder: Path) -> JournalContent:
    """Read a journal as far as it is good, and change nothing.

    Raises:
        ReplayError: no journal there, or not one of this version.
    """
    return _read(folder).content(())


def damage_sentence(note: Entry) -> str:
    """Return what a ``{"op": "damaged"}`` line says, for people."""
    kept = f"; the damaged file is kept as {note['kept']}" if note.get("kept") else ""
    return (
        f"the session's journal was damaged on the disk: what came before step {note['line']} is here, "
        f"{note['lost']} line(s) from there on are lost{kept}"
    )


@dataclass(frozen=True)
class _Reading:
    header: Entry
    lines: tuple[Entry, ...]
    ends: tuple[int, ...]
    raw: bytes
    size: int
    chain: int
    damage: bool
    lost: int

    def content(self, more: tuple[Entry, ...]) -> JournalContent:
        damages = (*(line for line in self.lines if line.get("op") == "damaged"), *more)
        return JournalContent(self.header, self.lines, self.ends, damages, self.raw[: self.size])


def _read(folder: Path) -> _Reading:
    path = folder / FILE_NAME
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise ReplayError(f"expected a session's journal at {path}, but it cannot be read: {exc.strerror}") from exc
    header, text = _header(raw)
    if header is None:
        raise ReplayError(f"expected a {FORMAT!r} of version {VERSION} at {path}, got something else")
    old = header["version"] == WITHOUT_CHECKSUMS
    at = (1 if old else 2) * (len(text) + 1)
    chain = 0 if old else zlib.crc32(_unsealed(text)[0])
    lines: list[Entry] = []
    ends: list[int] = []
    while (end := raw.find(b"\n", at)) >= 0:
        entry, link = _checked(raw[at:end], chain, lenient=old)
        if entry is None:
            break
        lines.append(entry)
        ends.append(end + 1)
        at, chain = end + 1, link
    rest = raw[at:]
    damage = b"\n" in rest or SEALED_SOMEWHERE.search(rest) is not None  # else the last append was torn
    lost = rest.count(b"\n") + (not rest.endswith(b"\n")) if damage else 0
    return _Reading(header, tuple(lines), tuple(ends), raw, at, chain, damage, lost)


def _header(raw: bytes) -> tuple[dict[str, Any] | None, bytes]:
    """Return the header and its text, from whichever of its two copies is whole."""
    lines = raw.split(b"\n", 3)[:3]
    for text in (*lines, lines[0][: len(lines[0]) // 2]):  # a changed line end makes one line of two
        entry, _ = _checked(text, 0, lenient=True)
        if entry is None or entry.get("format") != FORMAT:
            continue
        if entry.get("version") == WITHOUT_CHECKSUMS or (entry.get("version") == VERSION and SEAL.search(text)):
            return entry, text
    return None, b""


def _sealed(entry: Entry, chain: int) -> tuple[bytes, int]:
    """Return an entry's line, and the checksum of everything up to it."""
    body = json.dumps(entry, separators=(",", ":")).encode()
    link = zlib.crc32(body, chain)
    return body[:-1] + b',"crc":"%08x"}\n' % link, link


def _unsealed(text: bytes) -> tuple[bytes, int | None]:
    found = SEAL.search(text)
    return (text, None) if found is None else (text[: found.start()] + b"}", int(found[1], 16))


def _checked(text: bytes, chain: int, *, lenient: bool) -> tuple[dict[str, Any] | None, int]:
    """Return a line's entry and its checksum, None for a damaged line; ``lenient``: a line may have no checksum."""
    body, told = _unsealed(text)
    link = zlib.crc32(body, chain)
    if told is None and lenient:
        link = chain
    elif told != link:
        return None, chain
    try:
        entry = json.loads(body)
    except ValueError:
        return None, chain
    return (entry, link) if isinstance(entry, dict) else (None, chain)


def _keep_aside(path: Path, why: str) -> str:
    """Copy a journal beside itself, once; return the copy's name."""
    with contextlib.suppress(OSError):
        for copy in sorted(path.parent.glob(f"{path.name}.{why}-*")):
            if filecmp.cmp(copy, path, shallow=False):
                return copy.name
    number = 1
    while (copy := path.with_name(f"{path.name}.{why}-{number}")).exists():
        number += 1
    try:
        shutil.copyfile(path, copy)
    except OSError as exc:
        copy.unlink(missing_ok=True)
        raise WriteError(f"cannot keep a copy of the journal {path}: {exc.strerror}") from exc
    return copy.name


def _locked(folder: Path) -> FileLock | None:
    """Keep other writers out of a folder; None where its file system knows no locks.

    Raises:
        WriteError: somebody is writing there.
    """
    lock = FileLock(folder / LOCK_NAME, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise WriteError(
            f"the session in {folder} is open already, here or in another process; close it there first"
        ) from None
    except (OSError, NotImplementedError) as exc:
        LOGGER.warning("cannot lock %s, so a second writer would go unseen: %s", folder, exc)
        return None
    return lock
