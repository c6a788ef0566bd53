"""The audit log: who, when, which study (as a hash), what. No patient data, no file name, no text of a person."""

from __future__ import annotations

import logging
import queue
import threading
import time

from promptseg.app.store import AuditEntry, Database

__all__ = ["Audit"]

LOGGER = logging.getLogger(__name__)
FLUSH_S = 0.5
AT_ONCE = 500


class Audit:
    """Writes entries in the background, in order; ``close`` writes what is left.

    A step on a session stands in its journal too, which is on the disk before the step is acknowledged.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: queue.SimpleQueue[AuditEntry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def note(self, user: str, action: str, study_hash: str = "", session: str | None = None) -> None:
        """Add an entry; returns at once."""
        self._waiting.put(
            AuditEntry(time=time.time(), user_id=user, action=action, study_hash=study_hash, session_id=session)
        )

    def note_now(self, user: str, action: str, study_hash: str = "", session: str | None = None) -> None:
        """Add an entry and wait until it is stored: for whatever leaves the server or is deleted."""
        with self._database.transaction() as store:
            store.add(
                AuditEntry(time=time.time(), user_id=user, action=action, study_hash=study_hash, session_id=session)
            )

    def close(self) -> None:
        """Write what is left."""
        self._waiting.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        entry = self._waiting.get()
        while entry is not None:
            entries = [entry]
            deadline = time.monotonic() + FLUSH_S
            entry = None
            while len(entries) < AT_ONCE:
                try:
                    entry = self._waiting.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
                if entry is None:
                    self._write(entries)
                    return
                entries.append(entry)
            self._write(entries)
            entry = self._waiting.get()

    def _write(self, entries: list[AuditEntry]) -> None:
        try:
            with self._database.transaction() as store:
                store.add_all(entries)
        except Exception:
            LOGGER.exception("%d entries of the audit log could not be written", len(entries))
