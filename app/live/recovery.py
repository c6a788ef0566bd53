"""Sessions and studies that lie on the disk without a row in the store: after a store was lost, broken or put back.

Every session's journal says which study it stands on; every study's files say what they are. Titles, users, keys and
shares are the store's alone: they come back from a backup of it, or are given anew.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from promptseg.app.settings import ServeSettings
from promptseg.app.store import Database, SessionRow, Study, User
from promptseg.app.studies.series import describe
from promptseg.errors import PromptsegError, ReadError, SettingsError
from promptseg.session.journal import read_journal

__all__ = ["Orphan", "find_orphans", "recover"]


@dataclass(frozen=True)
class Orphan:
    """A session on the disk that the store does not know.

    Attributes:
        folder: of its journal.
        study: id of the study that it stands on, "" where the journal does not say.
        series: of that study.
        frame: of that series.
        model: id.
        steps: lines of its journal.
        trouble: why it cannot be brought back, "" where it can.
    """

    folder: Path
    study: str = ""
    series: str = "1"
    frame: int = 0
    model: str = ""
    steps: int = 0
    trouble: str = ""


def find_orphans(settings: ServeSettings, database: Database) -> list[Orphan]:
    """Return the sessions below the data folder that have no row, by the names of their folders."""
    with database.transaction() as store:
        known = set(store.scalars(select(SessionRow.id)))
    folders = sorted(path.parent for path in (settings.data / "sessions").glob("*/session.jsonl"))
    return [_looked_at(folder) for folder in folders if folder.name not in known]


def _looked_at(folder: Path) -> Orphan:
    try:
        content = read_journal(folder)
    except PromptsegError as exc:
        return Orphan(folder, trouble=str(exc))
    word, *place = str(content.header.get("source", "")).split(" ")
    model = str(content.header.get("model", ""))
    if word != "study" or len(place) != 3:
        return Orphan(folder, model=model, steps=len(content.lines), trouble="its journal does not name its study")
    study, series, frame = place
    return Orphan(folder, study, series, int(frame), model, len(content.lines))


def recover(settings: ServeSettings, database: Database, owner: str) -> tuple[list[Orphan], list[Orphan]]:
    """Give sessions without a row, and the studies that they stand on, to a user.

    Args:
        settings: of the server; nothing of it may run meanwhile.
        database: the store.
        owner: the user's name.

    Returns:
        The sessions that are back, and those that are not (with ``trouble``).

    Raises:
        SettingsError: no such user.
    """
    with database.transaction() as store:
        user = store.scalar(select(User).where(User.name == owner))
    if user is None:
        raise SettingsError(f"no user {owner!r}; add one first: promptseg users add {owner}")
    back: list[Orphan] = []
    left: list[Orphan] = []
    for orphan in find_orphans(settings, database):
        trouble = orphan.trouble or _adopt(settings, database, orphan, user.id)
        (left if trouble else back).append(Orphan(**{**vars(orphan), "trouble": trouble}))
    return back, left


def _adopt(settings: ServeSettings, database: Database, orphan: Orphan, owner: str) -> str:
    """Make the rows of a session and its study; return why that cannot be, "" where it could."""
    with database.transaction() as store:
        study = store.get(Study, orphan.study)
    if study is None:
        try:
            study = _study_from_files(settings, orphan.study, owner)
        except PromptsegError as exc:
            return str(exc)
    now = orphan.folder.stat().st_mtime
    row = SessionRow(
        id=orphan.folder.name,
        owner=owner,
        study_id=study.id,
        series=orphan.series,
        frame=orphan.frame,
        title=study.title,
        model=orphan.model,
        folder=str(orphan.folder),
        view={},
        lease_until=0.0,
        created=now,
        last_seen=now,
    )
    with database.transaction() as store:
        store.merge(study)
        store.flush()  # the row refers to it
        store.add(row)
    return ""


def _study_from_files(settings: ServeSettings, study_id: str, owner: str) -> Study:
    """Describe a study anew from its folder; without one it was the example, or lay below a root."""
    folder = settings.data / "studies" / study_id
    if not folder.is_dir():
        raise ReadError(f"the files of its study {study_id} are not below {folder.parent}")
    content = describe(folder, {}, voxels=settings.limits.voxels)
    files = [file for file in folder.rglob("*") if file.is_file()]
    digests = sorted(hashlib.sha256(file.read_bytes()).digest() for file in files)
    return Study(
        id=study_id,
        owner=owner,
        title=content.series[0].title[:200],
        folder=str(folder),
        uploaded=True,
        bytes=sum(file.stat().st_size for file in files),
        hash=hashlib.sha256(b"".join(digests)).hexdigest(),
        content=content.to_dict(),
        created=time.time(),
    )
