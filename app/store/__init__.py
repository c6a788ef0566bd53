"""Users, studies, sessions, jobs and the audit log in SQLite or PostgreSQL. Voxels and prompts are files beside it."""

from promptseg.app.store.database import Database
from promptseg.app.store.tables import ApiKey, AuditEntry, Job, Login, SessionRow, Share, Study, User

__all__ = ["ApiKey", "AuditEntry", "Database", "Job", "Login", "SessionRow", "Share", "Study", "User"]
