"""A session on disk: begun there, brought back from there, and kept there while somebody works on it.

Every step is in the journal before it takes effect. In the background a snapshot follows whenever a second of work lies
behind the last one, so bringing a session back takes about as long as reading it, however long it was worked on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import ref

from promptseg.engine.progress import OnProgress
from promptseg.errors import WriteError
from promptseg.session.history import Past, Record
from promptseg.session.journal import Journal, JournalContent, damage_sentence, outcome_of
from promptseg.session.replaying import perform
from promptseg.session.snapshot import read_snapshot, write_snapshot

if TYPE_CHECKING:
    from promptseg.session.session import Session

__all__ = ["Guard", "Keeper", "begin", "bring_back"]

LOGGER = logging.getLogger(__name__)
WORK_S = 1.0  # of work that may have to be done again before the next snapshot is taken
SHARE = 0.2  # of the time that goes into work, what snapshots may take
Guard: TypeAlias = Callable[[Record], Record]


class Keeper:
    """Keeps a session in its folder from now on.

    Args:
        session: as the journal says.
        folder: where the journal and the snapshots lie.
        journal: of this session.
        guard: wraps the journal's ``append``; may refuse to write.

    Attributes:
        findings: what a person should know of how the session was brought back.
    """

    def __init__(self, session: Session, folder: Path, journal: Journal, guard: Guard | None = None) -> None:
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
    session: Session, folder: Path, source: Mapping[str, Any], *, guard: Guard | None = None, alone: bool = True
) -> Keeper:
    """Keep a new session in a folder.

    Args:
        session: without a step.
        folder: made when missing.
        source: where the image lies, for the header.
        guard: see ``Keeper``.
        alone: see ``Journal.create``.

    Raises:
        WriteError: the folder cannot be written, or holds a session already.
    """
    header = {
        **source,
        "model": session.model_id,
        "weights": session.weights_hash,
        "image": session.volume.content_hash,
        "window": vars(session.volume.window),
        "engine": session.options.to_dict(),
    }
    return Keeper(session, folder, Journal.create(folder, header, alone=alone), guard)


def bring_back(
    session: Session,
    folder: Path,
    opened: tuple[Journal, JournalContent],
    *,
    guard: Guard | None = None,
    on_progress: OnProgress | None = None,
) -> Keeper:
    """Bring a fresh session to where its journal ends, with what undo and redo would do, and keep it there.

    Args:
        session: without a step, on the journal's image, with its model and options.
        folder: the session's.
        opened: from ``Journal.go_on``.
        guard: see ``Keeper``.
        on_progress: called after every slice that is worked out again.

    Raises:
        PromptsegError: a line does not fit the session.
    """
    journal, content = opened
    kept, began = read_snapshot(folder, content), time.perf_counter()
    if kept is not None:
        session.go_on_from(kept.past)
    _follow(session, content.lines if kept is None else content.after(kept.size), on_progress)
    keeper = Keeper(session, folder, journal, guard)
    keeper.findings = tuple(damage_sentence(note) for note in content.damages)
    keeper.worked(time.perf_counter() - began)
    return keeper


def _follow(session: Session, lines: tuple[Mapping[str, Any], ...], on_progress: OnProgress | None) -> None:
    """Do what lines say, without what they took back again."""
    past = session.capture()
    outcome = outcome_of(lines, len(past.done), len(past.undone))
    path = (*outcome.done, *reversed(outcome.undone))
    there = sum(isinstance(step, int) for step in path)
    for _ in range(len(past.done) - there):
        session.undo()
    for _ in range(there - len(past.done)):
        session.redo()
    for entry in path[there:]:
        perform(session, entry, on_progress)
    for _ in outcome.undone:
        session.undo()
    if outcome.selected is not None:
        session.select(outcome.selected)


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
