"""A session's log on disk while it is being made: append-only JSON lines, flushed to the disk at every entry.

The first line is a header (versions, model, image, window, engine); every later line is one entry of the prompt log, or
``{"op": "undo"}``, ``{"op": "redo"}``, or ``{"op": "select"}``. A process that dies in the middle of a line loses only
that line, which was never acknowledged. The file names the image's path, so it stays on this machine with the image.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptseg.errors import ReplayError, WriteError

__all__ = ["Journal", "JournalContent", "read_journal"]

FILE_NAME = "session.jsonl"
FORMAT = "promptseg journal"
VERSION = 1


class Journal:
    """A journal being written. ``append`` returns only when the entry is on the disk.

    Args:
        folder: made when missing; must not hold a journal yet unless ``continued``.
        header: what ``read_journal`` gives back as ``header``.
        continued: go on writing an existing journal.

    Raises:
        WriteError: the folder cannot be written, or holds another session's journal.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], *, continued: bool = False) -> None:
        self.path = folder / FILE_NAME
        if continued:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.open("xb").close()
        except FileExistsError:
            raise WriteError(f"{folder} holds a session already; resume it, or choose another folder") from None
        except OSError as exc:
            raise WriteError(f"cannot write the session's journal in {folder}: {exc.strerror}") from exc
        self.append({"format": FORMAT, "version": VERSION, **header})

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one entry and wait until it is on the disk.

        Raises:
            WriteError: the disk is full or gone.
        """
        try:
            with self.path.open("ab") as file:
                file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise WriteError(f"cannot write the session's journal {self.path}: {exc.strerror}") from exc


@dataclass(frozen=True)
class JournalContent:
    """What a journal says.

    Attributes:
        header: the first line.
        done: entries in force, oldest first.
        undone: entries that redo would bring back, the next one last.
        selected: the label that was selected after all of these, or None where the entries themselves say it.
    """

    header: Mapping[str, Any]
    done: tuple[Mapping[str, Any], ...]
    undone: tuple[Mapping[str, Any], ...]
    selected: int | None = None


def read_journal(folder: Path) -> JournalContent:
    """Read a journal; an unfinished last line is cut off the file.

    Raises:
        ReplayError: no journal there, or not one of this version.
    """
    path = folder / FILE_NAME
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise ReplayError(f"expected a session's journal at {path}, but it cannot be read: {exc.strerror}") from exc
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) < len(raw):
        os.truncate(path, len(whole))
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
    except ValueError as exc:
        raise ReplayError(f"the session's journal {path} is damaged: {exc}") from exc
    if not lines or lines[0].get("format") != FORMAT or lines[0].get("version") != VERSION:
        raise ReplayError(f"expected a {FORMAT!r} of version {VERSION} at {path}, got something else")
    done: list[Mapping[str, Any]] = []
    undone: list[Mapping[str, Any]] = []
    selected = None
    for entry in lines[1:]:
        if entry.get("op") == "select":
            selected = int(entry["label"])
            continue
        selected = None
        if entry.get("op") == "undo":
            undone += [done.pop()] if done else []
        elif entry.get("op") == "redo":
            done += [undone.pop()] if undone else []
        else:
            done.append(entry)
            undone.clear()
    return JournalContent(lines[0], tuple(done), tuple(undone), selected)
