"""The state of every case of a batch, in one SQLite file: the batch survives whatever kills it.

A case's results appear under their final name by one rename of a whole folder, with a receipt inside. The rename is
what makes a case done; the database follows it. So there are two moments to be killed at: before the rename, then the
case runs again and nothing of it is there; and between rename and commit, then ``adopt`` finds the receipt.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from promptseg.batch.case import Case
from promptseg.errors import ReadError, SettingsError
from promptseg.io.atomic import all_or_nothing

__all__ = [
    "CASES_FOLDER",
    "MANIFEST_NAME",
    "PROMPTS_NAME",
    "RECEIPT_NAME",
    "THUMBNAIL_NAME",
    "Manifest",
    "Record",
]

MANIFEST_NAME, CASES_FOLDER = "manifest.sqlite", "cases"
RECEIPT_NAME, PROMPTS_NAME, THUMBNAIL_NAME = "case.json", "prompts.json", "thumbnail.jpg"  # beside a case's masks
VERSION = 1
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE cases (
    id TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    source TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'done', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    kind TEXT, reason TEXT, stages TEXT, peak_mib REAL, changed TEXT
);
CREATE INDEX by_state ON cases (state, position);
CREATE INDEX by_position ON cases (position);
"""


@dataclass(frozen=True)
class Record:
    """One case's row.

    Attributes:
        case: the case.
        state: "pending", "running", "done" or "failed".
        attempts: how often it was tried and ended, well or badly.
        losses: how often the machine it ran on went away.
        kind: what went wrong last: "error", "refused", "timeout", "memory", "died" or "lost"; None when nothing did.
        reason: the sentence that goes with it.
        stages: seconds per stage of the last attempt that ended.
        peak_mib: largest memory of a process that worked on it, MiB.
    """

    case: Case
    state: str
    attempts: int
    losses: int
    kind: str | None
    reason: str | None
    stages: Mapping[str, float]
    peak_mib: float


class Manifest:
    """The open file; see ``begin`` and ``go_on``. One process writes it: ``promptseg.batch.run`` holds a lock."""

    def __init__(self, folder: Path, db: sqlite3.Connection) -> None:
        self.folder = folder
        self._db = db

    @staticmethod
    def begin(folder: Path, job: Mapping[str, Any], cases: Iterable[Case]) -> Manifest:
        """Make the file with all its cases; it appears whole or not at all.

        Args:
            folder: the batch's output folder.
            job: what the batch does, as plain JSON; compared when a batch goes on.
            cases: its cases.

        Raises:
            SettingsError: the folder holds a batch already.
            WriteError: the folder cannot be written.
        """
        path = folder / MANIFEST_NAME
        if path.exists():
            raise SettingsError(f"{folder} holds a batch already; add --resume to go on with it, or name a new folder")
        with all_or_nothing(path) as partial:
            made = Manifest(folder, _connected(partial / MANIFEST_NAME))
            made._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            with made._db as db:
                db.execute("INSERT INTO meta VALUES ('job', ?)", (json.dumps(job, sort_keys=True),))
            made.add(cases)
            made.close()
        return Manifest(folder, _connected(path))

    @staticmethod
    def go_on(folder: Path, job: Mapping[str, Any]) -> Manifest:
        """Open the file of a batch that was begun before.

        Raises:
            SettingsError: none is there, or it was begun with another job.
            ReadError: the file is no such database, or of a newer version.
        """
        path = folder / MANIFEST_NAME
        if not path.is_file():
            raise SettingsError(
                f"expected a batch to go on with in {folder}, found no {MANIFEST_NAME}; name its inputs"
            )
        try:
            db = _connected(path)
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                raise ReadError(f"expected a manifest of version {VERSION} at {path}, got {version}; update promptseg")
            begun = json.loads(db.execute("SELECT value FROM meta WHERE key = 'job'").fetchone()[0])
        except sqlite3.Error as exc:
            raise ReadError(f"cannot open {path} as a batch's manifest: {exc}") from exc
        _require_same(begun, json.loads(json.dumps(job)), folder)
        return Manifest(folder, db)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- cases --------------------------------------------------------------------------------------------------

    def add(self, cases: Iterable[Case]) -> int:
        """Add the cases that are not there yet, in one transaction; return how many were new."""
        before = self._db.total_changes
        start = self._db.execute("SELECT COALESCE(MAX(position), 0) FROM cases").fetchone()[0]
        with self._db as db:
            db.executemany(
                "INSERT OR IGNORE INTO cases (id, position, source, changed) VALUES (?, ?, ?, ?)",
                ((case.id, start + number, case.to_json(), _now()) for number, case in enumerate(cases, start=1)),
            )
        return self._db.total_changes - before

    def recover(self, *, retry_failed: bool) -> int:
        """Put what was interrupted back, take finished folders over that the database missed; return how many.

        Args:
            retry_failed: try failed cases again too, from the first attempt.
        """
        adopted = 0
        for record in list(self.records("running")):
            receipt = self.folder / CASES_FOLDER / record.case.id / RECEIPT_NAME
            if receipt.is_file():
                data = json.loads(receipt.read_text(encoding="utf-8"))
                self.done(record.case.id, data["stages"], data["peak_mib"])
                adopted += 1
        with self._db as db:
            db.execute("UPDATE cases SET state = 'pending' WHERE state = 'running'")
            if retry_failed:
                db.execute("UPDATE cases SET state = 'pending', attempts = 0, losses = 0 WHERE state = 'failed'")
        return adopted

    def started(self, case_id: str) -> None:
        """Note that a case runs now."""
        self._set(case_id, "state = 'running'")

    def done(self, case_id: str, stages: Mapping[str, float], peak_mib: float) -> None:
        """Note that a case's results are there."""
        self._set(
            case_id,
            "state = 'done', attempts = attempts + 1, kind = NULL, reason = NULL, stages = ?, peak_mib = ?",
            json.dumps(stages),
            peak_mib,
        )

    def put_back(self, case_id: str, *, lost: str | None = None) -> None:
        """Make a running case wait again without counting an attempt; ``lost`` says that its machine went away."""
        if lost is None:
            self._set(case_id, "state = 'pending'")
        else:
            self._set(case_id, "state = 'pending', losses = losses + 1, kind = 'lost', reason = ?", lost)

    def failed(self, case_id: str, kind: str, reason: str, stages: Mapping[str, float], *, final: bool) -> None:
        """Note a failed attempt; a case that is not ``final`` waits for the next one behind all others."""
        self._set(
            case_id,
            "state = ?, attempts = attempts + 1, kind = ?, reason = ?, stages = ?, "
            "position = (SELECT MAX(position) + 1 FROM cases)",
            "failed" if final else "pending",
            kind,
            reason,
            json.dumps(stages),
        )

    def next_pending(self) -> Record | None:
        """Return the first case that waits; None when none does."""
        return next(self.records("pending", limit=1), None)

    def record(self, case_id: str) -> Record:
        """Return one case's row."""
        return _record(self._db.execute(f"SELECT {FIELDS} FROM cases WHERE id = ?", (case_id,)).fetchone())

    def records(self, state: str | None = None, limit: int = -1) -> Iterator[Record]:
        """Return rows in the order of the cases, all or those in one state."""
        where = "" if state is None else "WHERE state = :state"
        query = f"SELECT {FIELDS} FROM cases {where} ORDER BY position LIMIT :limit"
        for row in self._db.execute(query, {"state": state, "limit": limit}):
            yield _record(row)

    def counts(self) -> dict[str, int]:
        """Return how many cases are in each state, zeros included."""
        found = dict(self._db.execute("SELECT state, COUNT(*) FROM cases GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in ("pending", "running", "done", "failed")}

    def _set(self, case_id: str, what: str, *values: object) -> None:
        with self._db as db:
            db.execute(f"UPDATE cases SET {what}, changed = ? WHERE id = ?", (*values, _now(), case_id))


FIELDS = "id, source, state, attempts, losses, kind, reason, stages, peak_mib"


def _record(row: tuple[Any, ...]) -> Record:
    case_id, source, state, attempts, losses, kind, reason, stages, peak = row
    case = Case.from_json(case_id, source)
    return Record(case, state, attempts, losses, kind, reason, json.loads(stages or "{}"), peak or 0.0)


def _connected(path: Path) -> sqlite3.Connection:
    """Open a database. The rollback journal (not WAL) works on network file systems; FULL survives a power cut."""
    db = sqlite3.connect(path, isolation_level="IMMEDIATE")
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA synchronous = FULL")
    return db


def _require_same(begun: Mapping[str, Any], job: Mapping[str, Any], folder: Path) -> None:
    differs = sorted(key for key in {*begun, *job} if begun.get(key) != job.get(key))
    if differs:
        was = ", ".join(f"{key} {begun.get(key)!r}, not {job.get(key)!r}" for key in differs)
        raise SettingsError(f"the batch in {folder} was begun with {was}; use the same, or a new folder")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
