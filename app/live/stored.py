"""Sessions as the store keeps them, and who may do what with them; what lies in memory is not asked."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, or_, select, update

from promptseg.app.errors import NotFoundError
from promptseg.app.live.served import Served
from promptseg.app.store import Database, SessionRow, Share
from promptseg.app.studies.sharing import Role, Shares, require

__all__ = ["StoredSessions"]


class StoredSessions:
    """The rows of all sessions.

    Args:
        database: the store.
        shares: who may do what with a study.
    """

    def __init__(self, database: Database, shares: Shares) -> None:
        self._database, self._shares = database, shares

    def is_known(self, user: str, study_id: str) -> bool:
        """True where what the user may do with a study is known without asking the store."""
        return self._shares.is_known(user, study_id)

    def require(self, user: str, session: Served | SessionRow, role: Role) -> None:
        """Let those through who may work so with the study; its editors do as they like with sessions of their own.

        Raises:
            NotFoundError: none of this user's business.
            ForbiddenError: the user may look at it only.
        """
        found = self._shares.role(user, session.study_id)
        if session.owner == user and found is Role.EDITOR:
            found = Role.OWNER
        require(found, role, f"no session {session.id!r}")

    def row(self, user: str, session_id: str, role: Role = Role.READER) -> SessionRow:
        """Return a session's row to someone who may do what ``role`` may.

        Raises:
            NotFoundError: no such session, or none of this user's business.
            ForbiddenError: the user may look at it only.
        """
        with self._database.transaction() as store:
            row = store.get(SessionRow, session_id)
        if row is None:
            raise NotFoundError(f"no session {session_id!r}")
        self.require(user, row, role)
        return row

    def rows(self, user: str) -> list[SessionRow]:
        """Return all sessions of a user, and those on studies that colleagues share; the last used first."""
        shared = select(Share.study_id).where(Share.user_id == user)
        mine = or_(SessionRow.owner == user, SessionRow.study_id.in_(shared))
        with self._database.transaction() as store:
            return list(store.scalars(select(SessionRow).where(mine).order_by(SessionRow.last_seen.desc())))

    def add(self, row: SessionRow) -> None:
        """Keep a new session's row."""
        with self._database.transaction() as store:
            store.add(row)

    def change(self, session_id: str, **values: Any) -> None:
        """Give columns of a row other values."""
        with self._database.transaction() as store:
            store.execute(update(SessionRow).where(SessionRow.id == session_id).values(**values))

    def remove(self, session_id: str) -> None:
        """Delete a row."""
        with self._database.transaction() as store:
            store.execute(delete(SessionRow).where(SessionRow.id == session_id))
