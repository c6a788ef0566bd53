"""Users, their keys, passwords and logins. Secrets are kept as hashes; nothing here writes one to a log."""

from __future__ import annotations

import time

from promptseg.app.settings import ServeSettings
from promptseg.app.store import Database, User

__all__ = ["LOCAL_USER", "Accounts"]

LOCAL_USER = "local"  # everyone, where the server only listens to its own machine


class Accounts:
    """All users.

    Args:
        database: the store.
        settings: how long a login lasts.
    """

    def __init__(self, database: Database, settings: ServeSettings) -> None:
        self._database, self._settings = database, settings

    def ensure(self, name: str) -> None:
        """Add a user whose id is its name, unless it is there."""
        with self._database.transaction() as store:
            if store.get(User, name) is None:
                store.add(User(id=name, name=name, created=time.time()))
