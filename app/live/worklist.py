"""Sessions as a list of work: what each is called, how far it is, and which others show frames of the same image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from promptseg.app.live.served import Served
from promptseg.app.store import Database, SessionRow, Study
from promptseg.app.studies.series import Content, Series
from promptseg.app.studies.sharing import Role

if TYPE_CHECKING:
    from promptseg.app.live.sessions import ServedSessions

__all__ = ["Worklist"]


class Worklist:
    """The list of a user's sessions, and how to go on in it.

    Args:
        database: where the rows are.
        sessions: those in memory, and how others are brought back.
    """

    def __init__(self, database: Database, sessions: ServedSessions) -> None:
        self._database, self._sessions = database, sessions

    def lines(self, user: str) -> list[dict[str, Any]]:
        """Return a line for each of a user's sessions, the last used first."""
        rows = self._sessions.stored.rows(user)
        wanted = select(Study).where(Study.id.in_({row.study_id for row in rows}))
        with self._database.transaction() as store:
            studies = {study.id: study for study in store.scalars(wanted)}
        return [_line(row, studies.get(row.study_id), self._sessions.held(row.id)) for row in rows]

    def describe(self, user: str, session_id: str, **changes: str) -> dict[str, Any]:
        """Give a session another ``title``, ``state`` or ``note``; return its line.

        Raises:
            NotFoundError, ForbiddenError: it is none of this user's business.
        """
        self._sessions.stored.row(user, session_id, Role.EDITOR)
        if changes:
            self._sessions.stored.change(session_id, **changes)
        with self._database.transaction() as store:
            row = store.get_one(SessionRow, session_id)
            return _line(row, store.get(Study, row.study_id), self._sessions.held(session_id))

    def on_frame(self, user: str, row: SessionRow, study: Study, series: Series, frame: int) -> Served:
        """Return the owner's session on another frame of the same image by the same model: found, or made.

        Raises:
            as ``ServedSessions.get`` and ``ServedSessions.open``.
        """
        alike = [getattr(SessionRow, name) == getattr(row, name) for name in ("owner", "study_id", "series", "model")]
        wanted = select(SessionRow.id).where(*alike, func.coalesce(SessionRow.frame, 0) == frame)
        with self._database.transaction() as store:
            there = store.scalar(wanted.order_by(SessionRow.last_seen.desc()).limit(1))
        if there is not None:
            return self._sessions.get(user, there)
        served = self._sessions.open(user, study, series, frame, row.model)
        self.describe(user, served.id, title=row.title)
        return served


def _line(row: SessionRow, study: Study | None, served: Served | None) -> dict[str, Any]:
    """Return a session as a line of the list; ``served`` where it is in memory."""
    names = row.labels if served is None else served.shown.names
    found = () if study is None else Content.from_dict(study.content).series
    series = next((one for one in found if one.id == row.series), None)
    return {
        "id": row.id,
        "study": row.study_id,
        "series": row.series,
        "frame": row.frame if series is not None and series.frames > 1 else None,
        "title": row.title,
        "model": row.model,
        "modality": None if series is None else series.modality,
        "description": "" if series is None else series.description,
        "labels": names,
        "state": "work" if row.state == "new" and names else row.state,
        "note": row.note,
        "created": row.created,
        "changed_at": row.last_seen if served is None else served.last_seen,
    }
