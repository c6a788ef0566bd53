"""A session on disk: begun there, brought back from there, and kept there while somebody works on it.

Every step is in the journal before it takes effect. In the background a snapshot follows whenever a second of work lies
behind the last one, so bringing a session back takes about as long as reading it, however long it was worked on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias
from weakref import ref

from promptseg.engine.progress import OnProgress
from promptseg.errors import PromptsegError, ReplayError, WriteError
from promptseg.session.comparing import ANEW, EVERY_WAY, repeat
from promptseg.session.history import Past, Record
from promptseg.session.journal import Journal, JournalContent, damage_sentence, outcome_of
from promptseg.session.prompt_log import PromptLog
from promptseg.session.session import Session
from promptseg.session.snapshot import read_snapshot, write_snapshot

__all__ = ["Autosave", "OpenFolder", "WriteGuard", "begin", "bring_back", "keep_anew"]

LOGGER = logging.getLogger(__name__)
WORK_S = 1.0  # of work that may have to be done again before the next snapshot is taken
SHARE = 0.2  # of the time that goes into work, what snapshots may take
WriteGuard: TypeAlias = Callable[[Record], Record]


class Autosave:
    """Keeps a session in its folder from now on.

    Args:
        session: as the journal says.
        folder: where the journal and the snapshots lie.
        journal: of this session.
        guard: wraps the journal's ``append``; may refuse to write.

    Attributes:
        findings: what a person should know of how the session was brought back.
    """

    def __init__(self, session: Session, folder: Path, journal: Journal, guard: WriteGuard | None = None) -> None:
        self.findings: tuple[str, ...] = ()
        self._folder, self._journal, self._session = (
            folder,
            journal,
            ref(session),
        )  # weak: who drops it frees the folder
        self._work_s = self._cost_s = 0.0
        self._seen = journal.count
        self._writing: Future[float] | None = None
        session.keep_by(self, journal.append if guard is None else guard(journal.append))

    @property
    def revision(self) -> int:
        """How many lines the journal has."""
        return self._journal.count

    def rested(self, seconds: float) -> None:
        """Hear that a call has ended, and how long it took; reading costs nothing when it is brought back."""
        if self._journal.count != self._seen:
            self._seen = self._journal.count
            self.worked(seconds)

    def worked(self, seconds: float) -> None:
        """Take a snapshot where enough work has come together."""
        self._work_s += seconds
        if self._work_s > max(WORK_S, self._cost_s / SHARE):
            self.save()

    def save(self) -> None:
        """Take a snapshot in the background, unless nothing happened since the last one or one is being written."""
        if self._work_s == 0.0 or (self._writing is not None and not self._writing.done()):
            return
        if self._writing is not None:
            self._cost_s = self._writing.result()
        session = self._session()
        if session is not None:
            past, journal = session.capture(), self._journal
            self._writing, self._work_s = _writer().submit(_write, self._folder, past, journal.path, journal.size), 0.0

    def close(self) -> None:
        """Write what is left and let others write."""
        for _ in range(2):  # one may be under way that is older than the last step
            if self._writing is not None:
                self._writing.result()
            self.save()
        self._journal.close()


def begin(
    session: Session, folder: Path, source: str, *, guard: WriteGuard | None = None, alone: bool = True
) -> Autosave:
    """Keep a new session in a folder.

    Args:
        session: without a step.
        folder: made when missing.
        source: where the image lies, for the header.
        guard: see ``Autosave``.
        alone: see ``Journal.create``.

    Raises:
        WriteError: the folder cannot be written, or holds a session already.
    """
    header = {"source": source, **session.prompt_log().header()}
    return Autosave(session, folder, Journal.create(folder, header, alone=alone), guard)


@dataclass(frozen=True)
class OpenFolder:
    """A session's folder, opened to go on with it.

    Attributes:
        folder: where journal and snapshots lie.
        journal: being written.
        content: what it says.
        log: the entries in force, and what the journal's header says.
        guard: see ``Autosave``.
    """

    folder: Path
    journal: Journal
    content: JournalContent
    log: PromptLog
    guard: WriteGuard | None = None

    @staticmethod
    def open(folder: Path, *, guard: WriteGuard | None = None, alone: bool = True) -> OpenFolder:
        """Open a folder; what is damaged of its journal is cut off, and kept beside it.

        Args:
            folder: the session's.
            guard: see ``Autosave``.
            alone: see ``Journal.create``.

        Raises:
            WriteError: somebody else is writing it.
            ReplayError: no journal there, one of another version, or one whose header lacks something.
        """
        journal, content = Journal.go_on(folder, alone=alone)
        try:
            done = [entry for entry in outcome_of(content.lines).done if not isinstance(entry, int)]
            missing = [name for name in ("source", "model", "image", "window", "engine") if name not in content.header]
            if missing:
                raise KeyError(missing[0])
            return OpenFolder(folder, journal, content, PromptLog.of(content.header, done), guard)
        except (KeyError, TypeError, AttributeError, PromptsegError) as exc:
            journal.close()
            raise ReplayError(f"the journal in {folder} lacks a field or holds a wrong value: {exc}") from exc

    @property
    def source(self) -> str:
        """Where the image lies, as the journal says."""
        return str(self.content.header["source"])

    @property
    def choices(self) -> tuple[str, ...]:
        """What can be done where the weights or the masks differ."""
        return ANEW if self.stored() is None else EVERY_WAY

    def stored(self) -> Past | None:
        """Return the past that is stored beside the journal, as far as it goes; None where there is none."""
        kept = read_snapshot(self.folder, self.content)
        return None if kept is None else kept.past

    @property
    def missed(self) -> int:
        """How many lines the journal has behind what is stored beside it."""
        kept = read_snapshot(self.folder, self.content)
        after = self.content.lines if kept is None else self.content.after(kept.size)
        return sum(line.get("op") != "select" for line in after)

    def work_out(self, session: Session, on_progress: OnProgress | None) -> None:
        """Do everything that the journal says on a fresh session, whatever it gives now."""
        _follow(session, self.content.lines, on_progress, strict=False)

    def close(self) -> None:
        """Let others write."""
        self.journal.close()


def bring_back(
    session: Session, opened: OpenFolder, *, strict: bool = True, on_progress: OnProgress | None = None
) -> bool:
    """Bring a fresh session to where its journal ends, with what undo and redo would do, and keep it there.

    Args:
        session: without a step, on the journal's image, with its model and options.
        opened: its folder.
        strict: see ``repeat``.
        on_progress: called after every slice that is worked out again.

    Returns:
        False where a step gave other voxels than it did: the journal does not fit the session any more.

    Raises:
        ChangedError: with ``strict``: a step gives other voxels than it did.
        PromptsegError: a line does not fit the session.
    """
    content = opened.content
    kept, began = read_snapshot(opened.folder, content), time.perf_counter()
    if kept is not None:
        session.go_on_from(kept.past)
    lines = content.lines if kept is None else content.after(kept.size)
    choices = ANEW if kept is None else EVERY_WAY
    same = _follow(session, lines, on_progress, strict=strict, choices=choices)
    autosave = Autosave(session, opened.folder, opened.journal, opened.guard)
    autosave.findings = tuple(damage_sentence(note) for note in content.damages)
    autosave.worked(time.perf_counter() - began)
    return same


def keep_anew(session: Session, opened: OpenFolder) -> Autosave:
    """Keep a session that is no longer what its journal says in a new journal; the old one stays beside it.

    Raises:
        WriteError: there is no room for that; the folder is as it was.
    """
    header = {"source": opened.source, **session.prompt_log().header()}
    undone = list(reversed(session.undone))
    selected = [{"op": "select", "label": session.selected}] if session.selected else []
    lines = [*session.log, *undone, *({"op": "undo"} for _ in undone), *selected]
    return Autosave(session, opened.folder, opened.journal.begin_anew(header, lines), opened.guard)


def _follow(
    session: Session,
    lines: tuple[Mapping[str, Any], ...],
    on_progress: OnProgress | None,
    *,
    strict: bool,
    choices: tuple[str, ...] = ANEW,
) -> bool:
    """Do what lines say, without what they took back again; return True where each gives what it gave."""
    past = session.capture()
    outcome = outcome_of(lines, len(past.done), len(past.undone))
    path = (*outcome.done, *reversed(outcome.undone))
    entries = [entry for entry in path if not isinstance(entry, int)]
    there = len(path) - len(entries) if entries else len(outcome.done)  # of the past's steps, those to stand on
    for _ in range(len(past.done) - there):
        session.undo()
    for _ in range(there - len(past.done)):
        session.redo()
    same = repeat(session, entries, strict=strict, choices=choices, on_progress=on_progress)
    for _ in outcome.undone if entries else ():
        session.undo()
    if outcome.selected is not None:
        session.select(outcome.selected)
    return same


def _write(folder: Path, past: Past, journal: Path, size: int) -> float:
    """Write a snapshot; return how long that took. What goes wrong is no harm: the journal has everything."""
    began = time.perf_counter()
    try:
        write_snapshot(folder, past, journal, size)
    except (WriteError, OSError, TypeError) as exc:
        LOGGER.warning("no snapshot of the session in %s: %s", folder, exc)
    return time.perf_counter() - began


@cache
def _writer() -> ThreadPoolExecutor:
    """Return the one thread that writes snapshots; the process waits for it at its end."""
    return ThreadPoolExecutor(1, thread_name_prefix="snapshots")
