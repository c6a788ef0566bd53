"""The store's connection: made by URL, brought to the present tables, and handed out as short transactions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from promptseg.errors import SettingsError

__all__ = ["Database", "Transaction"]

MIGRATIONS = Path(__file__).with_name("migrations")
MIGRATING = threading.Lock()  # alembic keeps its context in globals
BUSY_MS = 20_000  # how long SQLite waits for another process's write
LOCK_KEY = 7_260_431  # of PostgreSQL's advisory lock: two processes that start together migrate one after the other


class Database:
    """Users, studies, sessions, jobs, audit.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/NAME``.

    Raises:
        SettingsError: not such a URL, or nobody answers there.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._open = sessionmaker(self._engine, expire_on_commit=False)
        try:
            self._upgrade()
        except OperationalError as exc:
            place = self._engine.url.render_as_string(hide_password=True)
            raise SettingsError(f"cannot open the store {place}: it does not answer, or refuses the login") from exc
        except DatabaseError as exc:
            place = self._engine.url.render_as_string(hide_password=True)
            raise SettingsError(
                f"the store {place} is damaged: put a backup in its place, or move it away and run promptseg recover"
            ) from exc

    @property
    def dialect(self) -> str:
        """The kind of database, "sqlite" or "postgresql"."""
        return self._engine.dialect.name

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Give a transaction: committed when the block ends well, else rolled back."""
        with self._open() as opened, opened.begin():
            yield opened

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _upgrade(self) -> None:
        """Bring the tables to the present version, once, whoever else is starting."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with MIGRATING, self._engine.connect() as connection:
            if self.dialect == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK_KEY})")
                connection.commit()
            try:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
            finally:
                if self.dialect == "postgresql":
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock({LOCK_KEY})")
                    connection.commit()


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsError("expected --store sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME") from None
    if parsed.get_backend_name() == "postgresql":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        try:
            return create_engine(parsed, hide_parameters=True, pool_pre_ping=True, pool_size=10, max_overflow=20)
        except ModuleNotFoundError:
            raise SettingsError('PostgreSQL needs one more package: pip install "promptseg[postgresql]"') from None
    if parsed.get_backend_name() != "sqlite":
        raise SettingsError(f"expected a store of sqlite or postgresql, got {parsed.get_backend_name()!r}")
    if parsed.database not in (None, "", ":memory:"):
        Path(str(parsed.database)).expanduser().parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": BUSY_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Let readers and one writer work at once; flush at every commit; and take transactions into our own hand."""
    connection.isolation_level = None
    for line in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
        connection.execute(f"PRAGMA {line}")


def _begin_sqlite(connection: Any) -> None:
    """Take the write lock at the start: a transaction that reads first and writes then never fails as "busy"."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
