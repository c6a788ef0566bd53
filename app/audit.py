"""The audit log: who, when, from where, what, which study (as a hash). No patient data, no file's name, no texts."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from contextvars import ContextVar

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from promptseg.app.store import AuditEntry, Database

__all__ = ["ADDRESS", "Audit", "entries"]

LOGGER = logging.getLogger(__name__)
ADDRESS: ContextVar[str] = ContextVar("address", default="")  # where the request that is being answered comes from
FLUSH_S = 0.5
AT_ONCE = 500
KEPT = 100_000  # entries that wait in memory while the store takes none


class Audit:
    """Writes entries in the background, in order; ``close`` writes what is left.

    A step on a session stands in its journal too, which is on the disk before the step is acknowledged. What the store
    does not take (a full disk) waits in memory and stands in the server's log: it never keeps a person from a mask.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: queue.SimpleQueue[AuditEntry | None] = queue.SimpleQueue()
        self._unwritten: list[AuditEntry] = []
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def note(self, user: str, action: str, study_hash: str = "", session: str | None = None) -> None:
        """Add an entry; returns at once."""
        self._waiting.put(_entry(user, action, study_hash, session))

    def note_now(self, user: str, action: str, study_hash: str = "", session: str | None = None) -> None:
        """Add an entry and wait until it is stored, where the store takes it: for what leaves the server or goes."""
        entry = _entry(user, action, study_hash, session)
        try:
            with self._database.transaction() as store:
                store.add(entry)
        except SQLAlchemyError:
            self._waiting.put(_entry(user, action, study_hash, session, entry.time))

    def close(self) -> None:
        """Write what is left."""
        self._waiting.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        last = False
        while not last:
            entry = self._waiting.get()
            deadline = time.monotonic() + FLUSH_S
            while entry is not None:
                self._unwritten.append(entry)
                try:
                    entry = self._waiting.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
            last = entry is None
            self._write()

    def _write(self) -> None:
        try:
            while self._unwritten:
                some = self._unwritten[:AT_ONCE]
                with self._database.transaction() as store:
                    store.add_all(
                        [_entry(e.user_id, e.action, e.study_hash, e.session_id, e.time, e.address) for e in some]
                    )
                del self._unwritten[:AT_ONCE]
        except Exception as exc:  # noqa: BLE001 - whatever it is, the next try is at the next entry
            LOGGER.error("%d entries of the audit log wait: %s", len(self._unwritten), type(exc).__name__)
            for entry in self._unwritten[KEPT:]:
                LOGGER.error("audit: %.0f %s %s %s", entry.time, entry.user_id, entry.action, entry.study_hash)
            del self._unwritten[KEPT:]


def _entry(
    user: str, action: str, study_hash: str, session: str | None, at: float | None = None, address: str | None = None
) -> AuditEntry:
    return AuditEntry(
        time=time.time() if at is None else at,
        user_id=user,
        action=action,
        study_hash=study_hash,
        session_id=session,
        address=ADDRESS.get() if address is None else address,
    )


def entries(database: Database, since: float, user: str = "") -> Sequence[AuditEntry]:
    """Return the entries from a time on (seconds since 1970), oldest first; those of one user's id, or of all."""
    wanted = select(AuditEntry).where(AuditEntry.time >= since).order_by(AuditEntry.time, AuditEntry.id)
    with database.transaction() as store:
        return list(store.scalars(wanted.where(AuditEntry.user_id == user) if user else wanted))
