"""Everything that one server process holds, made from its settings and closed in order."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from promptseg.app.accounts import LOCAL_USER, Accounts
from promptseg.app.audit import Audit
from promptseg.app.live.exporting import ExportTurns
from promptseg.app.live.jobs import Jobs
from promptseg.app.live.sessions import ServedSessions
from promptseg.app.live.wholebody import WholeBodyRuns
from promptseg.app.live.worklist import Worklist
from promptseg.app.settings import ServeSettings
from promptseg.app.store import Database
from promptseg.app.studies.catalogue import Catalogue
from promptseg.app.studies.dicomweb import DicomWeb
from promptseg.app.studies.series import VolumeCache
from promptseg.app.studies.sharing import Shares

__all__ = ["AppState"]

LOGGER = logging.getLogger(__name__)

BLOCK = 64 * 1024  # bytes: a session's next step fits


@dataclass(eq=False)
class AppState:
    """What faces (REST, browser page, protocols) share.

    Attributes:
        settings: see ``ServeSettings``.
        database: the store.
        accounts: users, keys, logins.
        shares: who may do what with whose study.
        volumes: images in memory.
        dicomweb: studies on other servers.
        catalogue: studies.
        sessions: served sessions, queues, leases.
        worklist: a user's sessions as a list.
        jobs: long work.
        whole_body: the whole-body engines.
        audit: the audit log.
        exports: whose turn it is to export.
    """

    settings: ServeSettings
    database: Database
    accounts: Accounts
    shares: Shares
    volumes: VolumeCache
    dicomweb: DicomWeb
    catalogue: Catalogue
    sessions: ServedSessions
    worklist: Worklist
    jobs: Jobs
    whole_body: WholeBodyRuns
    audit: Audit
    exports: ExportTurns

    @staticmethod
    def make(settings: ServeSettings) -> AppState:
        """Open the store and start the housekeeper; nothing listens yet.

        Raises:
            SettingsError: the store or the data folder cannot be used.
        """
        from promptseg.errors import SettingsError

        try:
            settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("studies", "sessions", "cache"):
                (settings.data / name).mkdir(mode=0o700, exist_ok=True)
            if settings.data.stat().st_mode & 0o077 and os.name == "posix":
                LOGGER.warning(
                    "other users of this machine can look into the data folder %s; close it: chmod -R go-rwx %s",
                    *(settings.data, settings.data),
                )
        except OSError as exc:
            raise SettingsError(f"cannot use the data folder {settings.data}: {exc.strerror}") from exc
        database = Database(settings.store_url)
        accounts = Accounts(database, settings)
        if settings.auth == "none":
            accounts.ensure(LOCAL_USER)
        volumes = VolumeCache(settings.data / "cache", settings.limits.cache_bytes)
        shares = Shares(database)
        sessions = ServedSessions(settings, database, volumes, shares)
        worklist = Worklist(database, sessions)
        jobs, whole_body, audit = (
            Jobs(database, sessions, settings.limits.jobs_per_user),
            WholeBodyRuns(settings.device),
            Audit(database),
        )
        passwords = {source: settings.dicom_password(source) for source in settings.dicom_sources}
        dicomweb = DicomWeb(settings.dicom_sources, passwords, settings.limits)
        catalogue = Catalogue(settings, database, dicomweb, shares)
        parts = (accounts, shares, volumes, dicomweb, catalogue, sessions, worklist)
        return AppState(settings, database, *parts, jobs, whole_body, audit, ExportTurns())

    def trouble(self) -> str:
        """Return why nobody can work at the moment, in one sentence; "" where everybody can."""
        try:
            with self.database.transaction() as store:
                store.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return "the store does not answer"
        try:
            with tempfile.TemporaryFile(dir=self.settings.data) as file:
                file.write(bytes(BLOCK))
                file.flush()
        except OSError as exc:
            return f"the data folder cannot be written: {exc.strerror}"
        return ""

    def close(self) -> None:
        """Stop work, give leases up, write the audit log, close the store."""
        self.jobs.close()
        self.sessions.close()
        self.audit.close()
        self.database.close()
