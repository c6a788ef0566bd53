"""Which process holds a session: one at a time, also when several share the store and the data folder.

The holder writes the journal. It may do so while its lease runs; before that it takes the session's file lock, and who
takes a session over takes that lock once before reading. So a process that was stopped in the middle and wakes up later
can never write behind the back of the one that went on. A process that has died is known at once where file locks work
(same machine, most network file systems): its own lock is free. Elsewhere its leases run out.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import select, update

from promptseg.app.store import Database, SessionRow

__all__ = ["Leases"]

CLOCK_SKEW_S = 2.0  # that two machines' clocks may differ


@dataclass(frozen=True)
class Held:
    """What the store says of a session that this process holds."""

    id: str
    mine: bool
    wanted: bool


class Leases:
    """This process's hold on sessions.

    Args:
        database: the store.
        folder: for the processes' own locks, shared by all of them.
        lease_s: how long a hold lasts without being renewed.
    """

    def __init__(self, database: Database, folder: Path, lease_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._database, self._folder, self._lease_s = database, folder, lease_s
        self.holder = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._alive = FileLock(folder / f"{self.holder}.lock", thread_local=False)
        self._alive.acquire()

    def until(self) -> float:
        """Return the monotonic time until which a hold taken or renewed from now on lasts."""
        return time.monotonic() + self._lease_s

    def wall(self) -> float:
        """Return the same as the store keeps it: seconds since 1970."""
        return time.time() + self._lease_s

    def acquire(self, session_id: str, lock: FileLock) -> float | None:
        """Take a session that nobody holds, or whose holder is gone.

        Returns:
            The monotonic time until which the hold lasts; None where a living process holds it.
        """
        until = self.until()
        with self._database.transaction() as store:
            row = store.get(SessionRow, session_id, with_for_update=True)
            if row is None:
                return None
            gone = row.holder in (None, self.holder) or row.lease_until + CLOCK_SKEW_S < time.time()
            if not gone and not self._is_dead(str(row.holder)):
                row.wanted_by = self.holder
                return None
            row.holder, row.lease_until, row.wanted_by = self.holder, self.wall(), None
        with lock:  # whoever was writing has finished, or will see that the lease is gone
            return until

    def renew(self, ids: Iterable[str]) -> tuple[float, list[Held]]:
        """Renew holds; return until when they last, and what became of each."""
        until, names = self.until(), list(ids)
        if not names:
            return until, []
        with self._database.transaction() as store:
            store.execute(
                update(SessionRow)
                .where(SessionRow.id.in_(names), SessionRow.holder == self.holder)
                .values(lease_until=self.wall())
            )
            rows = store.execute(
                select(SessionRow.id, SessionRow.holder, SessionRow.wanted_by).where(SessionRow.id.in_(names))
            ).all()
        found = {row.id: Held(row.id, row.holder == self.holder, row.wanted_by is not None) for row in rows}
        return until, [found.get(name, Held(name, False, False)) for name in names]

    def release(self, session_id: str) -> None:
        """Give a session up."""
        with self._database.transaction() as store:
            store.execute(
                update(SessionRow)
                .where(SessionRow.id == session_id, SessionRow.holder == self.holder)
                .values(holder=None, wanted_by=None)
            )

    def close(self) -> None:
        """Give everything up."""
        with self._database.transaction() as store:
            store.execute(
                update(SessionRow).where(SessionRow.holder == self.holder).values(holder=None, wanted_by=None)
            )
        self._alive.release()
        with contextlib.suppress(OSError):
            (self._folder / f"{self.holder}.lock").unlink()

    def is_alive(self, holder: str) -> bool:
        """Return False for a process that has ended."""
        return holder == self.holder or not self._is_dead(holder)

    def _is_dead(self, holder: str) -> bool:
        path = self._folder / f"{holder}.lock"
        if not path.exists():
            return True  # it ended in order
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            return False
        with contextlib.suppress(OSError):
            path.unlink()
        return True
