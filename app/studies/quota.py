"""How much of the disk one person's things take: studies, sessions, and what MONAI Label's clients leave."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sqlalchemy import func, select

from promptseg.app.errors import UploadTooLargeError
from promptseg.app.settings import ServeSettings
from promptseg.app.store import Database, SessionRow, Study

__all__ = ["Quota", "hashed"]


def hashed(name: str) -> str:
    """Return the name of a folder for something that has a name of its own, which may be anything."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Quota:
    """The room on the disk by user.

    Args:
        settings: its data folder and ``limits.user_bytes``.
        database: the store.
    """

    def __init__(self, settings: ServeSettings, database: Database) -> None:
        self._settings, self._database = settings, database

    def used_bytes(self, owner: str) -> int:
        """Return how much a user's things take."""
        with self._database.transaction() as store:
            studies = store.scalar(select(func.coalesce(func.sum(Study.bytes), 0)).where(Study.owner == owner))
            sessions = store.scalars(select(SessionRow.folder).where(SessionRow.owner == owner)).all()
        folders = [*map(Path, sessions), self._settings.data / "datastore" / hashed(owner)]
        return int(studies or 0) + sum(_size(folder) for folder in folders)

    def left_bytes(self, owner: str) -> int:
        """Return how much more a user may store.

        Raises:
            UploadTooLargeError: nothing.
        """
        most = self._settings.limits.user_bytes
        used = self.used_bytes(owner)
        if used >= most:
            raise UploadTooLargeError(
                f"your studies, sessions and labels take {used / 1e9:.2f} GB of the {most / 1e9:.2f} GB that you have "
                "here; delete some first"
            )
        return most - used

    def require(self, owner: str, more: int) -> None:
        """Let so many bytes more in.

        Raises:
            UploadTooLargeError: they would be too many.
        """
        if (left := self.left_bytes(owner)) < more:
            raise UploadTooLargeError(f"expected at most {left / 1e9:.2f} GB more of yours here; delete some first")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
